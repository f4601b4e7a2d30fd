/** `--config` and `--dir`, which every command of the agent takes, and the flags that `run` and `join` have of their own. */
import type { OptionSpec, OptionSpecs, OptionValues } from '../../host/options.ts'
import type { ConfigFlags } from '../config/node-config.ts'

const directoryOption = {
  type: 'string',
  value: 'DIR',
  help: "the node's keys and state; else /var/lib/clawnode for root, ~/.local/state/clawnode for others",
} as const satisfies OptionSpec

export const configOptions = {
  config: {
    type: 'string',
    value: 'FILE',
    help: 'settings in TOML, else CLAWNODE_CONFIG, else /etc/clawnode/config.toml if there is one',
  },
  dir: directoryOption,
} as const satisfies OptionSpecs

export const trustOptions = {
  gateway: { type: 'string', value: 'URL', help: "the gateway's address, https://HOST[:PORT]" },
  ca: { type: 'string', value: 'FILE', help: "the gateway's CA in PEM, if the token does not carry it" },
  fingerprint: {
    type: 'string',
    multiple: true,
    value: 'SHA256',
    help: 'only this public key, of the gateway or its CA, will do',
  },
  name: { type: 'string', value: 'NAME', help: "the node's name in the fleet; else this machine's" },
} as const satisfies OptionSpecs

export const meshOptions = {
  userspace: { type: 'boolean', help: 'use wireguard-go even where the kernel has WireGuard' },
  'no-mesh': { type: 'boolean', help: 'take no part in the mesh; needs no privileges' },
  interface: { type: 'string', value: 'NAME', help: "the mesh's network interface (default claw0)" },
  'listen-port': { type: 'string', value: 'PORT', help: 'UDP port of WireGuard (default 51820)' },
  route: {
    type: 'string',
    multiple: true,
    value: 'CIDR',
    help: 'offer this network behind the node to the fleet',
  },
  'no-masquerade': {
    type: 'boolean',
    help: 'peers keep their own addresses in the networks behind this node',
  },
  'public-endpoint': {
    type: 'string',
    value: 'HOST:PORT',
    help: 'where others reach that port, if no interface shows it (a forwarded port)',
  },
  stun: {
    type: 'string',
    value: 'HOST:PORT',
    multiple: true,
    help: 'a STUN server to ask, instead of those that the gateway names',
  },
  'no-names': {
    type: 'boolean',
    help: "serve no names of the mesh, and leave this machine's resolver alone",
  },
} as const satisfies OptionSpecs

/** Of every command that reads secrets. */
export const cacheOptions = {
  'no-cache': {
    type: 'boolean',
    help: 'keep no secret on this node, and use none kept there while the gateway is away',
  },
} as const satisfies OptionSpecs

type Flags = Partial<
  OptionValues<typeof configOptions & typeof trustOptions & typeof meshOptions & typeof cacheOptions>
>

export const configFlags = (flags: Flags): ConfigFlags => ({
  config: flags.config,
  settings: {
    dir: flags.dir,
    gateway_url: flags.gateway,
    gateway_ca_cert: flags.ca,
    gateway_cert_fingerprint: flags.fingerprint,
    name: flags.name,
    interface: flags.interface,
    listen_port: flags['listen-port'],
    public_endpoint: flags['public-endpoint'],
    stun: flags.stun,
    // A flag that is not given says nothing; it does not say no.
    userspace: flags.userspace || undefined,
    mesh: flags['no-mesh'] ? false : undefined,
    routes: flags.route,
    routes_masquerade: flags['no-masquerade'] ? false : undefined,
    names: flags['no-names'] ? 'off' : undefined,
    secrets_cache: flags['no-cache'] ? false : undefined,
  },
})
