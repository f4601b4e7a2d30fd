/** Request bodies, bounded before they are read and parsed before they are used. */
import * as z from 'zod'
import { concat } from '../crypto/bytes.ts'
import { MAX_BODY_BYTES } from '../protocol/limits.ts'
import { orRefuse, RefusedError } from '../protocol/refused-error.ts'
import { parseBody } from '../protocol/request-body.ts'
import type { GatewayContext } from './context.ts'

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

export const parseJson = <T extends z.ZodType>(bytes: Uint8Array, schema: T): z.output<T> =>
  orRefuse(parseBody(bytes, schema))
