/** STUN servers as settings name them, on the gateway and on a node. */
import * as z from 'zod'

/** Two that are independent tell what kind of NAT there is; more are for the case that some are silent. */
const MAX_STUN_SERVERS = 8

export const StunServers = z
  .array(
    z.string().refine(isHostAndPort, 'a STUN server is host:port, with an IPv6 address in brackets').max(260),
  )
  .max(MAX_STUN_SERVERS, `at most ${MAX_STUN_SERVERS} STUN servers are named`)

function isHostAndPort(text: string): boolean {
  const [, host, port] = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})$/.exec(text) ?? []
  return host !== undefined && Number(port) >= 1 && Number(port) <= 65_535
}
