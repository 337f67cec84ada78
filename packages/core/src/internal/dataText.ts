/**
 * Writes data as JSON, as its schema says.
 *
 * @internal
 */
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import type { WrittenFields } from "../SessionData.ts"
import { faithful } from "./faithful.ts"
import * as StructFields from "./structFields.ts"

export interface DataText<out A> {
  readonly text: string
  /** What the text is decoded to, frozen, where that is known. */
  readonly copy: A | undefined
  readonly fields: WrittenFields<A> | undefined
}

/** `undefined` for data that does not fit the schema. */
export const make = <A>(
  schema: Schema.Codec<A, unknown>
): (data: A, before?: WrittenFields<A>) => DataText<A> | undefined => {
  const encode = Schema.encodeExit(Schema.toCodecJson(schema))
  // Without transformations, data that became plain JSON unchanged is what that JSON is decoded to.
  const direct = SchemaAST.toType(schema.ast) === schema.ast
  const writeFields = direct ? StructFields.make(schema) : undefined
  return (data, before) => {
    // Encoding runs the application's code, and data may be nested too deep: whatever is thrown is an outcome.
    try {
      const written = writeFields?.(data, before)
      if (written !== undefined) return { text: written.text, copy: written.fields?.data, fields: written.fields }
      const exit = encode(data)
      if (Exit.isFailure(exit)) return undefined
      // The schema describes what it encodes to as unknown; equal in all parts, it is an A.
      const copy = direct && faithful(exit.value, data) ? exit.value as A : undefined
      return { text: JSON.stringify(exit.value), copy, fields: undefined }
    } catch {
      return undefined
    }
  }
}
