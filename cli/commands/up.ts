/** `claw up` on the command line. */
import { defineCommand } from '../../host/command-line.ts'
import { directoryOption } from '../run-file.ts'
import { listenForSignals } from '../up/signals.ts'
import type { Ready } from '../up/up.ts'

export const upCommand = defineCommand({
  name: 'up',
  summary: 'Run the gateway on this machine',
  details: `The first run makes a CA, a server certificate, the keys and an admin token in the directory, all readable by
you alone; later runs use them again. Only this machine is served unless --host says otherwise. SIGHUP has it read its files again.`,
  options: {
    dir: directoryOption,
    host: {
      type: 'string',
      value: 'ADDRESS',
      default: '127.0.0.1',
      help: '0.0.0.0 serves other machines too',
    },
    port: { type: 'string', value: 'PORT', default: '8443', help: '0 picks a free one' },
    name: {
      type: 'string',
      value: 'DNS_OR_IP',
      multiple: true,
      help: 'a further name or address under which it is reached',
    },
    stun: {
      type: 'string',
      value: 'HOST:PORT',
      multiple: true,
      help: 'a STUN server that nodes ask how they look from outside; two tell most',
    },
    relays: {
      type: 'string',
      value: 'LIST',
      default: 'self',
      help: 'relays for nodes that do not reach each other: self, wss://HOST[:PORT] of a `claw relay`, or none as an empty text',
    },
    json: { type: 'boolean', help: 'print one line of JSON when it serves' },
  },
  async run({ options }) {
    // Loaded here, because no other command needs the runtime.
    const { up } = await import('../up/up.ts')
    const port = /^[0-9]+$/.test(options.port) ? Number(options.port) : Number.NaN
    const signals = listenForSignals()
    const gateway = await up({
      dir: options.dir,
      host: options.host,
      port,
      names: options.name,
      stun: options.stun,
      relays: options.relays,
    })
    try {
      process.stdout.write(options.json ? `${JSON.stringify(gateway.ready)}\n` : welcome(gateway.ready))
      while ((await signals.next()) === 'reload') await gateway.reload()
    } finally {
      await gateway.stop()
    }
  },
})

const welcome = ({ url, ca, fingerprint, adminTokenFile }: Ready): string => `The gateway serves ${url}

  CA certificate  ${ca}
  fingerprint     ${fingerprint}
  admin token     ${adminTokenFile}

In this directory \`claw\` finds it by itself. Elsewhere:
  export CLAW_GATEWAY=${url} CLAW_CA=${ca} CLAW_TOKEN_FILE=${adminTokenFile}

A machine joins with the token that \`claw token create\` prints.
`
