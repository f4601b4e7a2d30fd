/**
 * A small Internet of network namespaces: a backbone, machines with public addresses, and home routers with machines behind them.
 *
 *     const lab = new NatLab()
 *     const server = lab.addHost()                             // 198.18.1.2, 2001:db8:1::2
 *     const home = lab.addRouter('port-restricted')            // 198.18.2.2 outside, 192.168.2.1 within
 *     const desktop = home.addHost()                           // 192.168.2.2
 *     home.rebind()                                            // every mapping is lost, and the next one has another port
 *     lab.roam(server)                                         // it has another address, and no longer the first
 *     …
 *     lab.destroy()
 *
 * No two machines share a link unless they are behind one router: what is `lan` here is so at home, and what is public is routed. The
 * backbone's namespace answers at the gateway address of each link, and is a place for a STUN server, a gateway or a relay as well:
 * `lab.backbone` has the addresses 198.18.0.1 and 198.18.0.2, and so two different ones to compare mappings by.
 */
import { execFileSync } from 'node:child_process'
import { type Host, ip, type Lan, Namespaces, plug } from './netns.ts'

/**
 * - `port-restricted`: keeps the source port, one mapping whatever the destination; lets in only whom it was sent to (the Linux default)
 * - `full-cone`: the same mapping lets anybody in
 * - `symmetric`: a mapping with a random port for each destination
 */
export type NatKind = 'port-restricted' | 'full-cone' | 'symmetric'

type Families = 'ipv4' | 'ipv6' | 'both'

const NETMASK = 24

export class NatLab {
  readonly namespaces = new Namespaces()
  /** Where the Internet's services run. */
  readonly backbone: Host
  readonly #places = new Map<Host, { readonly link: number; host: number }>()
  #links = 0

  constructor() {
    try {
      this.backbone = this.namespaces.addHost('198.18.0.1')
      const { namespace } = this.backbone
      for (const address of ['198.18.0.1/32', '198.18.0.2/32', '2001:db8::1/128', '2001:db8::2/128'])
        ip('-n', namespace, 'address', 'add', address, 'dev', 'lo')
      forward(namespace)
    } catch (error) {
      this.destroy()
      throw error
    }
  }

  /** A machine that the whole Internet can reach. */
  addHost(families: Families = 'both'): Host {
    const link = ++this.#links
    const host = this.namespaces.addHost(families === 'ipv6' ? `2001:db8:${link}::2` : `198.18.${link}.2`)
    this.#attach(host.namespace, 'eth0', link, families)
    this.#places.set(host, { link, host: 2 })
    return host
  }

  addRouter(kind: NatKind): Router {
    const link = ++this.#links
    const router = this.namespaces.addHost(`198.18.${link}.2`)
    this.#attach(router.namespace, 'wan', link, 'ipv4')
    return new Router(this.namespaces, router, link, kind)
  }

  /** Gives a public machine another address on another link, as a phone that leaves its Wi-Fi. @returns the new one. */
  roam(host: Host): string {
    const place = this.#places.get(host)
    if (place === undefined) throw new Error('only a public machine roams by itself')
    const [before, after] = [`198.18.${place.link}.${place.host}`, `198.18.${place.link}.${++place.host}`]
    // The first address goes at once: what still uses it as its source is lost.
    readdress(host.namespace, before, after)
    ip('-n', host.namespace, 'route', 'replace', 'default', 'via', `198.18.${place.link}.1`)
    return after
  }

  /** Of the path from the Internet to this machine or router, which says nothing about it: larger packets just vanish. */
  limitMtu(host: Host, mtu: number): void {
    nft(host.namespace, mtuTable(mtu))
  }

  destroy(): void {
    this.namespaces.destroy()
  }

  #attach(namespace: string, device: string, link: number, families: Families): void {
    const port = `link${link}`
    plug(namespace, device, this.backbone.namespace, port)
    if (families !== 'ipv6') {
      ip('-n', this.backbone.namespace, 'address', 'add', `198.18.${link}.1/${NETMASK}`, 'dev', port)
      ip('-n', namespace, 'address', 'add', `198.18.${link}.2/${NETMASK}`, 'dev', device)
      ip('-n', namespace, 'route', 'add', 'default', 'via', `198.18.${link}.1`)
    }
    if (families === 'ipv4') return
    ip('-n', this.backbone.namespace, 'address', 'add', `2001:db8:${link}::1/64`, 'dev', port, 'nodad')
    ip('-n', namespace, 'address', 'add', `2001:db8:${link}::2/64`, 'dev', device, 'nodad')
    ip('-n', namespace, '-6', 'route', 'add', 'default', 'via', `2001:db8:${link}::1`)
  }
}

/** A home router: its machines are on one LAN, and share its one public address. */
export class Router {
  /** Outside. */
  readonly address: string
  readonly host: Host
  readonly #namespaces: Namespaces
  readonly #number: number
  readonly #kind: NatKind
  #hosts = 1
  #rebound = 0

  constructor(namespaces: Namespaces, host: Host, number: number, kind: NatKind) {
    this.#namespaces = namespaces
    this.host = host
    this.address = host.address
    this.#number = number
    this.#kind = kind
    const { namespace } = host
    ip('-n', namespace, 'link', 'add', 'lan', 'type', 'bridge')
    ip('-n', namespace, 'link', 'set', 'lan', 'up')
    ip('-n', namespace, 'address', 'add', `192.168.${number}.1/${NETMASK}`, 'dev', 'lan')
    forward(namespace)
    nft(namespace, natTable(kind, ''))
  }

  addHost(): Host {
    const number = ++this.#hosts
    const host = this.#namespaces.addHost(`192.168.${this.#number}.${number}`)
    plug(host.namespace, 'eth0', this.host.namespace, `port${number}`)
    ip('-n', this.host.namespace, 'link', 'set', `port${number}`, 'master', 'lan')
    ip('-n', host.namespace, 'address', 'add', `${host.address}/${NETMASK}`, 'dev', 'eth0')
    ip('-n', host.namespace, 'route', 'add', 'default', 'via', `192.168.${this.#number}.1`)
    return host
  }

  /** Forgets every mapping, as a router that restarts; the next ones have ports of another range. */
  rebind(): void {
    // Its map knows of ports that were kept only.
    if (this.#kind === 'full-cone') throw new Error('this router always keeps the port')
    const first = 30_000 + 1_000 * this.#rebound++
    nft(this.host.namespace, natTable(this.#kind, ` to :${first}-${first + 999}`))
    // The kernel forgets the mappings of an address that goes.
    readdress(this.host.namespace, this.address, this.address, 'wan')
    ip('-n', this.host.namespace, 'route', 'replace', 'default', 'via', `198.18.${this.#number}.1`)
  }

  /** No UDP passes, either way, but for DNS. */
  blockUdp(): void {
    nft(this.host.namespace, UDP_BLOCKED)
  }
}

/** The network within is 192.168.77.0/24. */
const WITHIN_LAN = 77

/** One of the hosts on a LAN is a router, with machines behind it. */
export const addRouter = (lan: Lan, kind: NatKind): Router =>
  new Router(lan.namespaces, lan.addHost('wan'), WITHIN_LAN, kind)

/** A firewall on the machine itself: nothing comes in that was not asked for, but for this UDP port. */
export const firewall = (host: Host, openPort: number): void =>
  nft(
    host.namespace,
    `table inet firewall {
      chain input { type filter hook input priority 0; policy drop;
        ct state established,related accept
        iifname "lo" accept
        meta l4proto { icmp, ipv6-icmp } accept
        udp dport ${openPort} accept
        iifname != "eth0" accept
      }
    }`,
  )

function natTable(kind: NatKind, to: string): string {
  const udp = kind === 'symmetric' ? 'masquerade fully-random' : `masquerade${to}`
  // Without the last chain Linux answers what comes unasked itself, and that makes the mapping of the true flow move to another port.
  const guarded = 'chain input { type filter hook input priority 0; iifname "wan" ct state new drop; }'
  return `table ip nat { }
    delete table ip nat
    table ip nat {
      ${kind === 'full-cone' ? FULL_CONE : guarded}
      chain post { type nat hook postrouting priority 100; oifname "wan" meta l4proto udp ${udp}; oifname "wan" masquerade; }
      chain forwarded { type filter hook forward priority 0; policy drop;
        ct state established,related accept
        iifname "lan" accept
        ${kind === 'full-cone' ? 'ct status dnat accept' : ''}
      }
    }`
}

/** What a machine sends from a port is remembered, and whoever writes to that port is let through to it. */
const FULL_CONE = `
      map mappings { type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 120s; }
      chain learn { type filter hook postrouting priority -150; oifname "wan" meta l4proto udp update @mappings { udp sport : ip saddr . udp sport }; }
      chain pre { type nat hook prerouting priority -100; iifname "wan" dnat ip to udp dport map @mappings; }`

const UDP_BLOCKED = `table ip blocked {
    chain forwarded { type filter hook forward priority -10; udp dport 53 accept; udp sport 53 accept; meta l4proto udp drop; }
  }`

const mtuTable = (mtu: number): string => `table inet mtu {
    chain incoming { type filter hook prerouting priority -400; iifname { "eth0", "wan" } meta length > ${mtu} drop; }
    chain outgoing { type filter hook postrouting priority 400; oifname { "eth0", "wan" } meta length > ${mtu} drop; }
  }`

function readdress(namespace: string, before: string, after: string, device = 'eth0'): void {
  ip('-n', namespace, 'address', 'delete', `${before}/${NETMASK}`, 'dev', device)
  ip('-n', namespace, 'address', 'add', `${after}/${NETMASK}`, 'dev', device)
}

function forward(namespace: string): void {
  for (const setting of ['net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'])
    execFileSync('ip', ['netns', 'exec', namespace, 'sysctl', '-qw', setting])
}

const nft = (namespace: string, rules: string): void => {
  execFileSync('ip', ['netns', 'exec', namespace, 'nft', '-f', '-'], {
    input: rules,
    stdio: ['pipe', 'pipe', 'pipe'],
  })
}
