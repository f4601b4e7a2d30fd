/** Reads what the gateway sends. Unknown types are passed over, so that a newer gateway can say more to an older agent. */
import * as z from 'zod'
import { GatewayFrame } from '../../protocol/frames.ts'
import { parseJson } from '../../protocol/json.ts'
import type { Log } from '../log.ts'

const Typed = z.looseObject({ type: z.string() })
const KNOWN: ReadonlySet<string> = new Set(GatewayFrame.options.map((option) => option.shape.type.value))

/** Undefined for everything the agent cannot use. The frame's content goes into no log line. */
export function parseGatewayFrame(text: string, log: Log): GatewayFrame | undefined {
  const typed = Typed.safeParse(parseJson(text)).data
  if (typed === undefined) {
    log.warn('the gateway sent something that is no frame', { bytes: text.length })
    return undefined
  }
  if (!KNOWN.has(typed.type)) {
    log.debug('a frame of an unknown type was passed over', { bytes: text.length })
    return undefined
  }
  const frame = GatewayFrame.safeParse(typed)
  if (!frame.success) {
    log.warn('the gateway sent a frame with wrong fields', {
      type: typed.type,
      at: frame.error.issues[0]?.path.join('.'),
    })
  }
  return frame.data
}
