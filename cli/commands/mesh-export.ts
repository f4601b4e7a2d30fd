/** `claw mesh export`: lets a phone or laptop without the agent into the mesh, with a plain WireGuard configuration. */
import { toBase64 } from '../../crypto/bytes.ts'
import { generateX25519, x25519PublicKey } from '../../crypto/x25519.ts'
import { defineCommand } from '../../host/command-line.ts'
import { usageError } from '../../host/options.ts'
import { createPrivateFile } from '../../host/private-file.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { MAX_TAGS } from '../../protocol/limits.ts'
import { PeerCreateBody } from '../../protocol/mesh-http.ts'
import type { AdminClient } from '../admin-client.ts'
import { connectionOptions, withGateway } from '../connection.ts'
import { findExportNodes } from '../mesh/export-nodes.ts'
import { qrCode } from '../mesh/qr.ts'
import { wgQuickConfig } from '../mesh/wg-quick.ts'

export const exportPeer = defineCommand({
  name: 'export',
  summary: 'Make a WireGuard configuration for a phone or laptop that has no agent',
  details: `The private key is made here and is in the configuration only; the gateway gets the public one. Whoever has the
configuration is that device: keep it as a key, and if it is lost, claw mesh rm-peer NAME.

The device reaches the nodes that are named on standard error, and no others: those that say that they can be reached from outside,
and those named with --endpoint.`,
  options: {
    peer: { type: 'string', value: 'NAME', help: 'what the device is called in the mesh' },
    tag: { type: 'string', value: 'TAG', multiple: true, help: 'given to the device' },
    via: {
      type: 'string',
      value: 'NODE',
      multiple: true,
      help: 'a node it connects to; without it all that can be reached',
    },
    endpoint: {
      type: 'string',
      value: 'NODE=HOST:PORT',
      multiple: true,
      help: 'where the device reaches that node, if you know better',
    },
    file: {
      type: 'string',
      value: 'FILE',
      help: 'write it there, readable by you alone; else to standard output',
    },
    qr: { type: 'boolean', help: 'as a QR code in the terminal, for the WireGuard app' },
    ...connectionOptions,
  },
  async run({ options }) {
    const { peer: name, tag: tags, via, endpoint: endpoints, file, qr } = options
    if (name === undefined) throw usageError('--peer NAME is missing', 'claw mesh export --peer phone')
    using privateKey = generateX25519()
    const body = PeerCreateBody.safeParse({ name, tags, wg: await x25519PublicKey(privateKey) })
    if (!body.success)
      throw usageError(
        `the name is a DNS label (a-z 0-9 and -), and each tag 1 to 63 of a-z 0-9 _ . : -, at most ${MAX_TAGS}`,
      )
    await withGateway(options, async (client) => {
      // Before the device is let in: without a way to any node it would be there for nothing.
      const { nodes, leftOut } = await findExportNodes(client, { via, endpoints })
      const { ipv4, ipv6 } = await client.addMeshPeer(body.data)
      await orTakeBack(client, body.data.name, () => {
        const device = { name: body.data.name, ipv4, ipv6, privateKey: toBase64(privateKey.expose()) }
        const config = wgQuickConfig(device, nodes)
        const code = qr ? qrCode(config) : undefined
        if (file !== undefined && !createPrivateFile(file, config)) throw fileExists(file)
        if (code !== undefined) process.stdout.write(code)
        else if (file === undefined) process.stdout.write(config)
      })
      process.stderr.write(`${name} is in the mesh as ${ipv4} and ${ipv6}\n`)
      for (const node of nodes)
        process.stderr.write(`it reaches ${node.name} (${node.ipv4}) by ${node.endpoint}\n`)
      for (const { name: other, why } of leftOut) process.stderr.write(`it does not reach ${other}: ${why}\n`)
    })
  },
})

/** A device whose configuration nobody has must not stay in the mesh. */
async function orTakeBack(client: AdminClient, name: string, print: () => void): Promise<void> {
  try {
    print()
  } catch (error) {
    await client.removeMeshPeer(name)
    throw error
  }
}

const fileExists = (file: string): UserError =>
  new UserError({
    code: 'E_FILE_EXISTS',
    message: `${file} exists already`,
    fix: 'name another with --file',
    exitCode: EXIT.conflict,
  })
