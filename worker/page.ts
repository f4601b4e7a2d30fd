/** Paging: a cursor is the last name of the page before, in base64url so that nobody builds one by hand. */
import { fromBase64Url, fromUtf8, toBase64Url, utf8 } from '../crypto/bytes.ts'
import { MAX_PAGE } from '../protocol/limits.ts'
import { RefusedError } from '../protocol/refused-error.ts'
import type { GatewayContext } from './context.ts'

export interface Page {
  readonly after: string
  readonly limit: number
}

/** @param most items of a page, where they are large. */
export function readPage(c: GatewayContext, most = MAX_PAGE): Page {
  const cursor = c.req.query('cursor')
  const limit = c.req.query('limit') ?? String(most)
  if (!/^[0-9]{1,4}$/.test(limit) || Number(limit) < 1 || Number(limit) > most) {
    throw new RefusedError('E_QUERY_INVALID', `limit is 1 to ${most}`)
  }
  return { after: cursor === undefined ? '' : decode(cursor), limit: Number(limit) }
}

/** The cursor of the following page, if this one is full. */
export const nextCursor = (items: readonly unknown[], { limit }: Page, last: string | undefined) =>
  items.length === limit && last !== undefined ? { next: encodeCursor(last) } : {}

export const encodeCursor = (last: string): string => toBase64Url(utf8(last))

function decode(cursor: string): string {
  try {
    const bytes = fromBase64Url(cursor)
    if (bytes !== undefined) return fromUtf8(bytes)
  } catch {
    // Not UTF-8: not a cursor of ours either.
  }
  throw wrongCursor()
}

export const wrongCursor = (): RefusedError =>
  new RefusedError('E_QUERY_INVALID', 'the cursor is not one this gateway gave')
