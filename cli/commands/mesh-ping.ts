/** `claw mesh ping A B`: has one node measure the way to another. */
import { defineCommand } from '../../host/command-line.ts'
import { outputOption, usageError } from '../../host/options.ts'
import { printJson } from '../../host/output.ts'
import { EXIT, UserError } from '../../host/user-error.ts'
import { NodeName } from '../../protocol/ids.ts'
import type { MeshPing, MeshRefusal } from '../../protocol/mesh-report.ts'
import { connectionOptions, withGateway } from '../connection.ts'
import { askPing } from '../mesh/ask.ts'

export const ping = defineCommand({
  name: 'ping',
  summary: 'Have node FROM send three echoes to node TO through the mesh',
  details: 'Needs the role operator, and is in the audit trail. It ends with 9 if none came back.',
  positionals: ['FROM', 'TO'],
  options: { output: outputOption, ...connectionOptions },
  async run({ options, positionals }) {
    const [from, to] = [nodeName(positionals.FROM), nodeName(positionals.TO)]
    const answer = await withGateway(options, (client) => askPing(client, from, to))
    if (answer.kind === 'refusal') throw refused(answer, from, to)
    if (options.output === 'json') printJson(answer)
    else process.stdout.write(describe(answer, from, to))
    if (answer.received > 0) return EXIT.ok
    throw unreachable(answer, from, to)
  },
})

function nodeName(text: string): NodeName {
  const name = NodeName.safeParse(text)
  if (!name.success) throw usageError(`${JSON.stringify(text)} is not a node's name`)
  return name.data
}

function describe({ sent, received, rttMs, pair }: MeshPing, from: NodeName, to: NodeName): string {
  const times =
    rttMs === undefined ? '' : `, ${rttMs.min} / ${rttMs.avg} / ${rttMs.max} ms (least, mean, most)`
  const by = pair.endpoint === null ? '' : ` by ${pair.endpoint}`
  const why = pair.reason === undefined ? '' : ` (${pair.reason})`
  return `${from} to ${to}: ${received} of ${sent} echoes${times}, path ${pair.path}${by}${why}\n`
}

function unreachable({ pair }: MeshPing, from: NodeName, to: NodeName): UserError {
  const why =
    pair.path === 'none'
      ? 'there is no path between the two'
      : `the path (${pair.path}) is there, but no echo came back: a rule or a firewall may drop ICMP`
  return new UserError({
    code: 'E_MESH_UNREACHABLE',
    message: `${from} does not reach ${to}`,
    why: pair.reason === undefined ? why : `${why}: ${pair.reason}`,
    fix: pair.hint,
    exitCode: EXIT.unavailable,
  })
}

function refused({ code }: MeshRefusal, from: NodeName, to: NodeName): UserError {
  const because = {
    unknown_peer: `${from} hears nothing of ${to}: no rule lets the two talk, or ${to} is not in the mesh`,
    no_ping_program: `\`ping\` is not installed on ${from}`,
    ping_failed: `\`ping\` cannot send on ${from}`,
  }
  return new UserError({
    code: 'E_MESH_PING',
    message: `${from} cannot ping ${to}`,
    why: because[code],
    exitCode: code === 'unknown_peer' ? EXIT.denied : EXIT.unavailable,
  })
}
