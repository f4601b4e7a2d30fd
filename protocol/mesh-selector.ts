/** Whom a word of a mesh policy means, and which ports of theirs. */
import { Cidr, NodeName, Tags } from './ids.ts'
import { MAX_RULE_PORTS } from './limits.ts'
import type { PolicyProblemKind } from './mesh-policy.ts'
import { EVERYTHING, ICMP, type PortSet, parseRanges, portsOf, union } from './port-set.ts'
import { err, ok, type Result } from './result.ts'

export type Selector =
  | { readonly kind: 'all' }
  | { readonly kind: 'tag'; readonly tag: Tags[number] }
  | { readonly kind: 'group'; readonly group: string }
  | { readonly kind: 'node'; readonly node: NodeName }

/** A network is reached by way of the nodes that route to it. */
export type Target = Selector | { readonly kind: 'network'; readonly network: Cidr }

export interface Destination {
  readonly target: Target
  readonly ports: PortSet
}

export interface Wrong {
  readonly kind: PolicyProblemKind
  readonly message: string
}

export type Proto = 'tcp' | 'udp' | 'icmp' | 'any'

export const GROUP_NAME = /^[a-z0-9][a-z0-9_.-]{0,62}$/

export function parseSelector(text: string): Result<Selector, Wrong> {
  if (text === '*') return ok({ kind: 'all' })
  const [, kind, name = ''] = /^(tag|group|node):(.*)$/s.exec(text) ?? []
  const tag = kind === 'tag' ? Tags.safeParse([name]).data?.[0] : undefined
  if (tag !== undefined) return ok({ kind: 'tag', tag })
  const node = kind === 'node' ? NodeName.safeParse(name).data : undefined
  if (node !== undefined) return ok({ kind: 'node', node })
  if (kind === 'group' && GROUP_NAME.test(name)) return ok({ kind: 'group', group: name })
  return err({
    kind: 'selector',
    message: `${quoted(text)} is none of *, tag:NAME, group:NAME and node:NAME`,
  })
}

export function parseTarget(text: string): Result<Target, Wrong> {
  if (!text.includes('/')) return parseSelector(text)
  const network = Cidr.safeParse(text).data
  if (network !== undefined) return ok({ kind: 'network', network })
  return err({
    kind: 'selector',
    message: `${quoted(text)} is no network: an address with no bit set beyond its prefix, which is not /0`,
  })
}

/** `TARGET:PORTS`; the last colon parts them, since a tag may have some of its own. */
export function parseDestination(text: string, proto: Proto | undefined): Result<Destination, Wrong> {
  const colon = text.lastIndexOf(':')
  const portText = text.slice(colon + 1)
  if (colon < 1 || !/^(\*|[0-9][0-9,-]*)$/.test(portText))
    return err({
      kind: 'ports',
      message: `${quoted(text)} does not end in ports, as in tag:db:5432, node:web:80,443 or *:*`,
    })
  const target = parseTarget(text.slice(0, colon))
  if (!target.ok) return target
  const ports = parsePorts(portText, proto)
  return ports.ok ? ok({ target: target.value, ports: ports.value }) : ports
}

function parsePorts(text: string, proto: Proto | undefined): Result<PortSet, Wrong> {
  if (text === '*') {
    if (proto === 'icmp') return ok(ICMP)
    return ok(proto === undefined || proto === 'any' ? EVERYTHING : portsOf(proto))
  }
  const wrong = (message: string): Result<never, Wrong> => err({ kind: 'ports', message })
  if (proto === 'icmp' || proto === 'any') return wrong(`${proto} has no ports to name: write *`)
  const ranges = parseRanges(text)
  if (ranges === undefined)
    return wrong(`${quoted(text)} are no ports: 1 to 65535, ranges as 8000-8010, parted by commas`)
  if (ranges.length > MAX_RULE_PORTS) return wrong(`more than ${MAX_RULE_PORTS} ranges of ports`)
  return ok(
    proto === undefined ? union([portsOf('tcp', ranges), portsOf('udp', ranges)]) : portsOf(proto, ranges),
  )
}

const quoted = (text: string): string => JSON.stringify(text.length > 64 ? `${text.slice(0, 64)}…` : text)
