const { charCodeAt } = String.prototype

/**
 * The UTF-16 code unit at an index, `NaN` outside of a text.
 *
 * Like `text.charCodeAt(index)`, for loops on hot paths: texts come in more shapes (cut out of another, put together,
 * internal) than V8 follows at one place, and once it has given up there, it looks the method up for each character.
 *
 * @internal
 */
export const charCode = (text: string, index: number): number => charCodeAt.call(text, index)
