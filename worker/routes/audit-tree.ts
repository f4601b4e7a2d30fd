/** The audit trail as a transparency log: its checkpoint, its tiles (C2SP tlog-tiles), and proofs for those who would rather not make them. */
import { type Bundle, parseTilePath, TILE_WIDTH, type Tile } from '../../crypto/merkle-tiles.ts'
import type { AuditContinuationReply, AuditProofReply } from '../../protocol/audit.ts'
import { orRefuse, RefusedError } from '../../protocol/refused-error.ts'
import { callAuditLog } from '../audit.ts'
import type { GatewayContext } from '../context.ts'

export async function sendCheckpoint(c: GatewayContext): Promise<Response> {
  const note = await callAuditLog(c, (log) => log.checkpoint())
  return c.body(note, 200, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' })
}

/** @param prefix of the log's files, as the tile's path comes after it. */
export function askedTile(c: GatewayContext, prefix: string): ReturnType<typeof parseTilePath> & {} {
  const tile = parseTilePath(c.req.path.slice(prefix.length))
  if (tile === undefined) throw new RefusedError('E_AUDIT_NOT_FOUND', 'that is no path of a tile')
  return tile
}

export const sendTile = async (c: GatewayContext, tile: Tile): Promise<Response> =>
  sendFile(c, tile, orRefuse(await callAuditLog(c, (log) => log.tile(tile))))

export const sendBundle = async (c: GatewayContext, bundle: Bundle): Promise<Response> =>
  sendFile(c, bundle, orRefuse(await callAuditLog(c, (log) => log.bundle(bundle))))

export async function sendConsistency(c: GatewayContext): Promise<Response> {
  const [from, to] = [readNumber(c, 'from'), readNumber(c, 'to')]
  const proof = orRefuse(await callAuditLog(c, (log) => log.consistency(from, to)))
  return c.json({ proof } satisfies AuditProofReply)
}

/** In one answer, because every node asks for it every hour. */
export async function sendContinuation(c: GatewayContext): Promise<Response> {
  const from = readNumber(c, 'from')
  const reply: AuditContinuationReply = await callAuditLog(c, (log) => log.continuation(from))
  return c.json({ checkpoint: reply.checkpoint, proof: reply.proof })
}

export async function sendInclusion(c: GatewayContext): Promise<Response> {
  const [index, size] = [readNumber(c, 'index'), readNumber(c, 'size')]
  const proof = orRefuse(await callAuditLog(c, (log) => log.inclusion(index, size)))
  return c.json({ proof } satisfies AuditProofReply)
}

/** Neither a full file nor one named with its width ever changes; a full one is asked for again and again. */
function sendFile(c: GatewayContext, { width }: Bundle, bytes: Uint8Array): Response {
  return c.body(new Uint8Array(bytes), 200, {
    'content-type': 'application/octet-stream',
    'cache-control': width === TILE_WIDTH ? 'private, max-age=31536000, immutable' : 'private, max-age=60',
  })
}

function readNumber(c: GatewayContext, name: string): number {
  const text = c.req.query(name) ?? ''
  if (!/^(0|[1-9][0-9]{0,14})$/.test(text)) throw new RefusedError('E_QUERY_INVALID', `${name} is a number`)
  return Number(text)
}
