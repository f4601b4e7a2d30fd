/** `claw relay`: a relay on a machine of the owner's own, with a public address. */
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { defineCommand } from '../../host/command-line.ts'
import { usageError } from '../../host/options.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { GatewayKey } from '../../protocol/ids.ts'
import type { RelayServer, TlsFiles } from '../relay/relay-server.ts'
import { listenForSignals } from '../up/signals.ts'

/** How often its account goes to the log, if there is anything new in it. */
const ACCOUNT_MS = 60_000

export const relayCommand = defineCommand({
  name: 'relay',
  summary: 'Relay packets of nodes that do not reach each other',
  details: `For a machine with a public address. It forwards what it cannot read, between nodes of which each shows a grant of the gateway for
the other, asks nobody, and keeps nothing. Nodes use it once RELAYS of the gateway (\`claw up --relays\`) names it. SIGHUP has it read its
certificate again.`,
  options: {
    host: { type: 'string', value: 'ADDRESS', default: '0.0.0.0', help: 'where it listens' },
    port: { type: 'string', value: 'PORT', default: '8444', help: '0 picks a free one' },
    cert: {
      type: 'string',
      value: 'FILE',
      help: 'its certificate with the chain, PEM, of a CA that the nodes trust',
    },
    key: { type: 'string', value: 'FILE', help: 'the private key of that certificate, PEM' },
    origin: {
      type: 'string',
      value: 'URL',
      multiple: true,
      help: 'wss://HOST[:PORT], as the gateway names it to nodes',
    },
    'gateway-key': {
      type: 'string',
      value: 'KEY',
      multiple: true,
      help: 'public key of the gateway, as `claw gateway-key show` prints it; a second one for its successor',
    },
    json: { type: 'boolean', help: 'print one line of JSON when it serves' },
  },
  async run({ options }) {
    const { cert, key } = options
    const problems: string[] = []
    const port = /^[0-9]{1,5}$/.test(options.port) ? Number(options.port) : Number.NaN
    if (!(port <= 65_535)) problems.push('--port is a number from 0 to 65535')
    if (isIP(options.host) === 0) problems.push('--host is an IP address of this machine')
    if (cert === undefined || key === undefined) problems.push('--cert and --key are needed')
    const keys = options['gateway-key'].map((text) => GatewayKey.safeParse(text))
    if (keys.length === 0 || keys.some(({ success }) => !success))
      problems.push('--gateway-key is 43 characters of base64url')
    const origins = options.origin.map(originOf)
    if (origins.length === 0 || origins.includes(undefined))
      problems.push('--origin is wss://HOST[:PORT] and nothing more')
    if (problems.length > 0) throw usageError(problems.join('; '), 'claw relay --help')

    const files = { cert: cert ?? '', key: key ?? '' }
    // Loaded here, because no other command needs it.
    const { RelayServer } = await import('../relay/relay-server.ts')
    const signals = listenForSignals()
    const relay = await RelayServer.start({
      host: options.host,
      port,
      tls: readTls(files),
      keys: keys.flatMap(({ data }) => data ?? []),
      origins: new Set(origins.filter((origin) => origin !== undefined)),
    }).catch((error: unknown) => {
      throw notStarted(error)
    })
    const accounting = keepAccount(relay)
    try {
      const ready = { host: options.host, port: relay.port, origins: options.origin, pid: process.pid }
      process.stdout.write(
        options.json ? `${JSON.stringify(ready)}\n` : `The relay serves ${options.host}:${relay.port}\n`,
      )
      while ((await signals.next()) === 'reload') reload(relay, files)
    } finally {
      accounting.stop()
      await relay.stop()
    }
  },
})

/** `https`, as a proof names its audience. */
function originOf(text: string): string | undefined {
  if (!text.startsWith('wss://') || !URL.canParse(text)) return undefined
  const { origin } = new URL(text.replace(/^wss/, 'https'))
  return origin.replace(/^https/, 'wss') === text ? origin : undefined
}

function readTls({ cert, key }: TlsFiles): TlsFiles {
  try {
    return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') }
  } catch (error) {
    throw new UserError({
      code: 'E_CERTIFICATE',
      message: 'the certificate or its key cannot be read',
      why: error instanceof Error && 'code' in error ? String(error.code) : undefined,
      exitCode: EXIT.badConfig,
    })
  }
}

/** A certificate that cannot be used leaves the one in force. */
function reload(relay: RelayServer, files: TlsFiles): void {
  try {
    relay.setTls(readTls(files))
    log('reload: the certificate is in force for new connections')
  } catch (error) {
    const why = error instanceof Error && 'code' in error ? String(error.code) : 'it is none'
    log(`error: reload refused, the certificate stays as it was: ${why}`)
  }
}

function keepAccount(relay: RelayServer): { stop(): void } {
  let logged = ''
  const write = () => {
    const { dropped, ...account } = relay.account
    const text = JSON.stringify({ event: 'account', ...account, dropped })
    if (text === logged) return
    logged = text
    log(JSON.stringify({ ...JSON.parse(text), nodes: relay.nodes }))
  }
  logged = JSON.stringify({ event: 'account', ...relay.account })
  const timer = setInterval(write, ACCOUNT_MS)
  return {
    stop() {
      clearInterval(timer)
      write()
    },
  }
}

const log = (line: string): void => void process.stderr.write(`${line}\n`)

const notStarted = (error: unknown): UserError => {
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined
  return new UserError({
    code: code === 'EADDRINUSE' ? 'E_PORT_IN_USE' : 'E_RELAY_START',
    message: 'the relay cannot start',
    why: code ?? (error instanceof Error ? error.message : undefined),
    exitCode: code === 'EADDRINUSE' ? EXIT.conflict : EXIT.failure,
  })
}
