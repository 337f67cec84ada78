import { Layer, Logger, Tracer } from "effect"
import { inspect } from "node:util"

/** Notes what is logged, and the spans that are begun. */
export const make = () => {
  const lines: Array<string> = []
  const spans: Array<Tracer.Span> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  const services = Layer.mergeAll(
    Logger.layer([Logger.make(({ cause, message }) => lines.push(inspect([message, cause], { depth: 20 })))]),
    Layer.succeed(Tracer.Tracer, tracer)
  )
  return { lines, spans, services }
}
