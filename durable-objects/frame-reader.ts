/** From what came over the socket to a frame, or the code with which it is refused. Nothing of the input is ever echoed. Pure. */
import type { ErrorCode } from '../protocol/errors.ts'
import { NodeFrame } from '../protocol/frames.ts'
import { parseJson } from '../protocol/json.ts'
import { MAX_FRAME_BYTES, MAX_TELEMETRY_BYTES } from '../protocol/limits.ts'
import { err, ok, type Result } from '../protocol/result.ts'

const TYPES: ReadonlySet<unknown> = new Set(NodeFrame.options.map((option) => option.shape.type.value))
/** A session speaks for its node alone (X2): naming one is an attack or a bug, and is told apart from a mere typing error. */
const NODE_FIELDS = ['node', 'nodeId', 'node_id', 'id', 'from']
/** Whatever spells a private key at any depth (I-3, X16). */
const PRIVATE_KEY_FIELD = /"(?:[a-z_]*_?private_?key|private|secret_?key|psk|preshared_?key)"\s*:/i

const encoder = new TextEncoder()

export function readFrame(message: string | ArrayBuffer): Result<NodeFrame, ErrorCode> {
  if (typeof message !== 'string') {
    return err(message.byteLength > MAX_FRAME_BYTES ? 'E_FRAME_TOO_LARGE' : 'E_FRAME_MALFORMED')
  }
  if (byteLength(message) > MAX_FRAME_BYTES) return err('E_FRAME_TOO_LARGE')
  const json = parseJson(message)
  if (typeof json !== 'object' || json === null || !('type' in json) || !TYPES.has(json.type))
    return err('E_FRAME_MALFORMED')
  if (PRIVATE_KEY_FIELD.test(message)) return err('E_FRAME_PRIVATE_KEY')
  if (NODE_FIELDS.some((field) => field in json)) return err('E_FRAME_FOREIGN_ID')
  const frame = NodeFrame.safeParse(json)
  if (!frame.success) return err('E_FRAME_INVALID')
  if (frame.data.type === 'telemetry' && message.length > MAX_TELEMETRY_BYTES) return err('E_FRAME_TOO_LARGE')
  return ok(frame.data)
}

/** Counts only where the cheap bound does not decide: a UTF-16 unit is at most three bytes of UTF-8. */
function byteLength(text: string): number {
  if (text.length * 3 <= MAX_FRAME_BYTES || text.length > MAX_FRAME_BYTES) return text.length
  return encoder.encode(text).length
}
