/** Sets of ports over protocols: what one rule allows, or several together. In one normal form, so that equal sets are equal text. */
import { MAX_RULE_PORTS } from './limits.ts'
import type { MeshPorts } from './mesh.ts'

export type PortRange = readonly [first: number, last: number]

/** Ranges in order, apart from each other. With `any` everything is in it, whatever the protocol, and nothing else is said. */
export interface PortSet {
  readonly any: boolean
  readonly icmp: boolean
  readonly tcp: readonly PortRange[]
  readonly udp: readonly PortRange[]
}

/** What a connection is for. */
export type PortQuery =
  | { readonly proto: 'tcp' | 'udp'; readonly port: number }
  | { readonly proto: 'icmp'; readonly port?: undefined }

const ALL_PORTS: PortRange = [1, 65_535]

export const NO_PORTS: PortSet = { any: false, icmp: false, tcp: [], udp: [] }
export const EVERYTHING: PortSet = { ...NO_PORTS, any: true }
export const ICMP: PortSet = { ...NO_PORTS, icmp: true }

/** @param ranges undefined for all ports. */
export const portsOf = (proto: 'tcp' | 'udp', ranges: readonly PortRange[] = [ALL_PORTS]): PortSet => ({
  ...NO_PORTS,
  [proto]: joined(ranges),
})

export function union(sets: readonly PortSet[]): PortSet {
  if (sets.some(({ any }) => any)) return EVERYTHING
  return {
    any: false,
    icmp: sets.some(({ icmp }) => icmp),
    tcp: joined(sets.flatMap(({ tcp }) => tcp)),
    udp: joined(sets.flatMap(({ udp }) => udp)),
  }
}

export const isEmpty = (set: PortSet): boolean =>
  !set.any && !set.icmp && set.tcp.length + set.udp.length === 0

export function includes(set: PortSet, query: PortQuery): boolean {
  if (set.any) return true
  if (query.proto === 'icmp') return set.icmp
  return set[query.proto].some(([first, last]) => first <= query.port && query.port <= last)
}

/** Whether everything of `inner` is in `outer`. */
export function covers(outer: PortSet, inner: PortSet): boolean {
  if (outer.any) return true
  if (inner.any || (inner.icmp && !outer.icmp)) return false
  const within = (proto: 'tcp' | 'udp'): boolean =>
    inner[proto].every(([first, last]) => outer[proto].some(([from, to]) => from <= first && last <= to))
  return within('tcp') && within('udp')
}

/** As it is sent to who has to hold to it. */
export function toMeshPorts(set: PortSet): MeshPorts[] {
  if (set.any) return [{ proto: 'any' }]
  const ofProtocol = (proto: 'tcp' | 'udp'): MeshPorts[] => {
    const ranges = set[proto]
    if (ranges.length === 0) return []
    if (isAll(ranges)) return [{ proto }]
    const parts: MeshPorts[] = []
    for (let start = 0; start < ranges.length; start += MAX_RULE_PORTS)
      parts.push({ proto, ports: ranges.slice(start, start + MAX_RULE_PORTS).map(([a, b]) => [a, b]) })
    return parts
  }
  return [...ofProtocol('tcp'), ...ofProtocol('udp'), ...(set.icmp ? [{ proto: 'icmp' } as const] : [])]
}

/** `tcp:22,8000-8010`, `udp`, `icmp`, `any`: one text a protocol. */
export function portTexts(set: PortSet): string[] {
  if (set.any) return ['any']
  const ofProtocol = (proto: 'tcp' | 'udp'): string[] => {
    if (set[proto].length === 0) return []
    return isAll(set[proto]) ? [proto] : [`${proto}:${set[proto].map(rangeText).join(',')}`]
  }
  return [...ofProtocol('tcp'), ...ofProtocol('udp'), ...(set.icmp ? ['icmp'] : [])]
}

/** `tcp:22`, `udp:53` or `icmp`; undefined for anything else. */
export function parsePortQuery(text: string): PortQuery | undefined {
  if (text === 'icmp') return { proto: 'icmp' }
  const [, proto, digits] = /^(tcp|udp):([0-9]{1,5})$/.exec(text) ?? []
  const port = Number(digits)
  if (!(port >= 1 && port <= 65_535)) return undefined
  return { proto: proto === 'tcp' ? 'tcp' : 'udp', port }
}

/** `22,8000-8010`; undefined if it is not that. */
export function parseRanges(text: string): PortRange[] | undefined {
  const ranges = text.split(',').map((part): PortRange | undefined => {
    const [, first, last = first] = /^([0-9]{1,5})(?:-([0-9]{1,5}))?$/.exec(part) ?? []
    const range: PortRange = [Number(first), Number(last)]
    return range[0] >= 1 && range[0] <= range[1] && range[1] <= 65_535 ? range : undefined
  })
  return ranges.every((range) => range !== undefined) ? ranges : undefined
}

function joined(ranges: readonly PortRange[]): PortRange[] {
  const result: [number, number][] = []
  for (const [first, last] of [...ranges].sort(([a], [b]) => a - b)) {
    const before = result.at(-1)
    if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last)
    else result.push([first, last])
  }
  return result
}

const isAll = ([range]: readonly PortRange[]): boolean =>
  range?.[0] === ALL_PORTS[0] && range[1] === ALL_PORTS[1]

const rangeText = ([first, last]: PortRange): string => (first === last ? `${first}` : `${first}-${last}`)
