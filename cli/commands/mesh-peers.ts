/** `claw mesh peers` and `rm-peer`: devices that have a configuration of `claw mesh export` and no agent. */
import { defineCommand } from '../../host/command-line.ts'
import { confirmByName, yesOption } from '../../host/confirm.ts'
import { outputOption } from '../../host/options.ts'
import { ago, printJsonList, table } from '../../host/output.ts'
import type { PeerItem } from '../../protocol/mesh-http.ts'
import { connectionOptions, withGateway } from '../connection.ts'

export const peers = defineCommand({
  name: 'peers',
  summary: 'List the devices of the mesh that have no agent',
  options: { output: outputOption, ...connectionOptions },
  async run({ options }) {
    const items = await withGateway(options, (client) => client.meshPeers())
    if (options.output === 'json') return printJsonList('PeerList', items)
    process.stdout.write(peerTable(items, new Date()))
  },
})

export const rmPeer = defineCommand({
  name: 'rm-peer',
  summary: 'Take a device without an agent out of the mesh; its configuration is worthless from then on',
  positionals: ['NAME'],
  options: { yes: yesOption, ...connectionOptions },
  async run({ options, positionals: { NAME } }) {
    await confirmByName('the peer', NAME, options.yes)
    await withGateway(options, (client) => client.removeMeshPeer(NAME))
    process.stderr.write(`peer ${NAME} is removed\n`)
  },
})

const peerTable = (items: readonly PeerItem[], now: Date): string =>
  table(items, [
    { header: 'NAME', value: ({ name }) => name },
    { header: 'IPV4', value: ({ ipv4 }) => ipv4 },
    { header: 'IPV6', value: ({ ipv6 }) => ipv6 },
    { header: 'TAGS', value: ({ tags }) => tags.join(',') },
    { header: 'WIREGUARD KEY', value: ({ wg }) => wg },
    { header: 'ADDED', value: ({ createdAt }) => ago(new Date(createdAt), now) },
  ])
