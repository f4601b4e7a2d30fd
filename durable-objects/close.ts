/** Closing sockets without surprises. */
import { ERRORS, type ErrorCode } from '../protocol/errors.ts'
import type { GatewayFrame } from '../protocol/frames.ts'

export function sendFrame(socket: WebSocket, frame: GatewayFrame): void {
  sendText(socket, JSON.stringify(frame))
}

/** A peer may vanish between two lines; sending to it is not an error of ours. */
export function sendText(socket: WebSocket, text: string): boolean {
  try {
    socket.send(text)
    return true
  } catch {
    return false
  }
}

export function sendError(socket: WebSocket, code: ErrorCode): void {
  sendFrame(socket, { type: 'error', code, message: ERRORS[code].title })
}

/** 1005, 1006 and 1015 are reserved and may not be sent (RFC 6455, section 7.4.1); they become 1000. */
export function closeQuietly(socket: WebSocket, code: number, reason = ''): void {
  const reserved = code === 1005 || code === 1006 || code === 1015 || code < 1000
  try {
    socket.close(reserved ? 1000 : code, reason)
  } catch {
    // Already closed.
  }
}
