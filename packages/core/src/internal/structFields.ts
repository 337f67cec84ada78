/**
 * Writes a struct field by field. A field that holds the very value it held when it was last written is neither checked
 * nor written again: most requests change a little of what a session holds.
 *
 * The text is that of the whole struct, fields in the order of the schema. What was last written is frozen through and
 * through, so the very value is the same value.
 *
 * @internal
 */
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import type { WrittenFields } from "../SessionData.ts"
import { faithful, isPlain } from "./faithful.ts"

/** What a struct is written as. */
export interface Text<out A> {
  readonly text: string
  /** `undefined` where the text does not say exactly what the struct holds. */
  readonly fields: WrittenFields<A> | undefined
}

/** `undefined` for what does not fit the schema, or only the schema as a whole can write. */
export type Write<in out A> = (data: A, before: WrittenFields<A> | undefined) => Text<A> | undefined

interface Field<in out A> {
  readonly name: keyof A
  readonly label: string
  readonly optional: boolean
  readonly encode: (value: unknown) => Exit.Exit<unknown, unknown>
}

// What all objects have under such a name is not a field.
const isFieldName = (name: PropertyKey): name is string => typeof name === "string" && !(name in Object.prototype)

// What is not there may be written nevertheless.
const staysMissing = (name: string, type: SchemaAST.AST): boolean => {
  const alone = new SchemaAST.Objects([new SchemaAST.PropertySignature(name, type)], [])
  const exit = Schema.encodeUnknownExit(Schema.toCodecJson(Schema.make<Schema.Codec<unknown>>(alone)))({})
  return Exit.isSuccess(exit) && JSON.stringify(exit.value) === "{}"
}

/** How to write what a schema without transformations describes, if it is a struct whose fields are checked each on its own. */
export const make = <A>(schema: Schema.Codec<A, unknown>): Write<A> | undefined => {
  const { ast } = schema
  if (!SchemaAST.isObjects(ast) || ast.checks !== undefined || ast.indexSignatures.length > 0) return undefined
  // One without fields is any value at all.
  if (ast.propertySignatures.length === 0) return undefined
  const fields: Array<Field<A>> = []
  for (const { name, type } of ast.propertySignatures) {
    const optional = type.context?.isOptional === true
    if (!isFieldName(name) || (optional && !staysMissing(name, type))) return undefined
    fields.push({
      // The schema says that it is one.
      name: name as keyof A,
      label: `${JSON.stringify(name)}:`,
      optional,
      encode: Schema.encodeUnknownExit(Schema.toCodecJson(Schema.make<Schema.Codec<unknown>>(type)))
    })
  }

  const someMayMiss = fields.some(({ optional }) => optional)
  return function write(data, before) {
    if (typeof data !== "object" || data === null || !isPlain(data)) return undefined
    const texts = new Array<string | undefined>(fields.length)
    const copy: Partial<A> = before === undefined ? {} : { ...before.data }
    let exact = true
    for (let i = 0; i < fields.length; i++) {
      const { encode, label, name, optional } = fields[i]
      const value = data[name]
      const missing = value === undefined
      if (missing && (!optional || Object.hasOwn(data, name))) return undefined
      if (before !== undefined) {
        // Where a field comes or goes, all are written anew: in the order of the schema, as they are read.
        if (missing !== (before.texts[i] === undefined)) return write(data, undefined)
        if (value === before.data[name]) {
          texts[i] = before.texts[i]
          continue
        }
      }
      if (missing) continue
      const exit = encode(value)
      if (Exit.isFailure(exit)) return undefined
      const text = JSON.stringify(exit.value)
      if (text === undefined) return undefined
      texts[i] = label + text
      if (!faithful(exit.value, value)) exact = false
      // Equal in all parts.
      else if (exact) copy[name] = exit.value as A[keyof A]
    }
    const present = someMayMiss ? texts.filter((text) => text !== undefined) : texts
    return {
      text: `{${present.join(",")}}`,
      // Every field is there, or may be missing.
      fields: exact ? { data: Object.freeze(copy) as A, texts } : undefined
    }
  }
}
