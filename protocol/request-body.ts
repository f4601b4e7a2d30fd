/** A request's body, from bytes to what its schema says. */
import type * as z from 'zod'
import { type Refusal, refusal } from './errors.ts'
import { parseJson } from './json.ts'
import { err, ok, type Result } from './result.ts'

/** A refusal names the fields that are wrong, never what they held. */
export function parseBody<T extends z.ZodType>(
  body: string | Uint8Array,
  schema: T,
): Result<z.output<T>, Refusal> {
  const json = parseJson(body)
  if (json === undefined) return err(refusal('E_BODY_INVALID', 'the body is not JSON'))
  const parsed = schema.safeParse(json)
  if (parsed.success) return ok(parsed.data)
  const fields = new Set(
    parsed.error.issues.map(({ path }) => path.filter((key) => typeof key === 'string').join('.') || 'body'),
  )
  return err(refusal('E_BODY_INVALID', `wrong or unknown: ${[...fields].map(printable).join(', ')}`))
}

const printable = (field: string): string => field.replace(/[^\w.]/g, '?').slice(0, 64)
