/** Request bodies, bounded before they are read and parsed before they are used. */
import * as z from 'zod'
import { concat, fromUtf8 } from '../crypto/bytes.ts'
import { MAX_BODY_BYTES } from '../protocol/limits.ts'
import { type GatewayContext, RefusedError } from './context.ts'

/** Stops reading at the limit, whatever Content-Length claims. */
export async function readBytes(c: GatewayContext, limit = MAX_BODY_BYTES): Promise<Uint8Array> {
  if (Number(c.req.header('content-length') ?? 0) > limit) throw new RefusedError('E_BODY_TOO_LARGE')
  const reader = (c.req.raw.body as ReadableStream<Uint8Array> | null)?.getReader()
  if (reader === undefined) return new Uint8Array()
  const chunks: Uint8Array[] = []
  let length = 0
  for (let { value } = await reader.read(); value !== undefined; { value } = await reader.read()) {
    length += value.length
    if (length > limit) {
      await reader.cancel()
      throw new RefusedError('E_BODY_TOO_LARGE')
    }
    chunks.push(value)
  }
  return concat(...chunks)
}

export async function readJson<T extends z.ZodType>(
  c: GatewayContext,
  schema: T,
  limit = MAX_BODY_BYTES,
): Promise<z.output<T>> {
  return parseJson(await readBytes(c, limit), schema)
}

/** JSON for which there is a better parser than a schema. */
export async function readJsonText(c: GatewayContext): Promise<unknown> {
  return parseJson(await readBytes(c), z.unknown())
}

/** A refusal names the fields that are wrong, never what they held. */
export function parseJson<T extends z.ZodType>(bytes: Uint8Array, schema: T): z.output<T> {
  let json: unknown
  try {
    json = JSON.parse(fromUtf8(bytes))
  } catch {
    throw new RefusedError('E_BODY_INVALID', 'the body is not JSON')
  }
  const parsed = schema.safeParse(json)
  if (parsed.success) return parsed.data
  const fields = [
    ...new Set(
      parsed.error.issues.map(
        (issue) => issue.path.filter((key) => typeof key === 'string').join('.') || 'body',
      ),
    ),
  ]
  throw new RefusedError('E_BODY_INVALID', `wrong or unknown: ${fields.map(printable).join(', ')}`)
}

const printable = (field: string): string => field.replace(/[^\w.]/g, '?').slice(0, 64)
