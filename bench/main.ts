/** `npm run bench -- [fleet] [--nodes N] [--mesh-nodes N] [--idle SECONDS] [--json]` */
import { parseArgs } from 'node:util'
import { benchFleet } from './fleet.ts'
import { printReport } from './report.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    nodes: { type: 'string', default: '1000' },
    'mesh-nodes': { type: 'string' },
    idle: { type: 'string', default: '60' },
    json: { type: 'boolean', default: false },
  },
})
if (positionals.some((name) => name !== 'fleet')) {
  process.stderr.write('there is one benchmark: fleet\n')
  process.exit(2)
}
const nodes = Number(values.nodes)
const meshNodes = Math.min(nodes, Number(values['mesh-nodes'] ?? 1000))
const idleSeconds = Number(values.idle)
if (![nodes, meshNodes, idleSeconds].every((value) => Number.isInteger(value) && value >= 0) || nodes < 1) {
  process.stderr.write('--nodes, --mesh-nodes and --idle take whole numbers\n')
  process.exit(2)
}
const figures = await benchFleet({ nodes, meshNodes, idleSeconds }, (line) =>
  process.stderr.write(`${line}\n`),
)
printReport(`${nodes} nodes, ${meshNodes} of them in the mesh`, figures, values.json)
