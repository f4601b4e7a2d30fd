/** `npm run bench -- [fleet|mesh|secrets|audit|relay] [--nodes N] [--mesh-nodes N] [--mesh-sizes N,N] [--idle SECONDS] [--entries N] [--json]` */
import { parseArgs } from 'node:util'
import { benchAudit } from './audit.ts'
import { benchFleet } from './fleet.ts'
import { benchMesh } from './mesh.ts'
import { benchRelay } from './relay.ts'
import { type Figure, printReport } from './report.ts'
import { benchSecrets } from './secrets.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    nodes: { type: 'string', default: '1000' },
    'mesh-nodes': { type: 'string' },
    'mesh-sizes': { type: 'string', default: '100,1000,5000' },
    idle: { type: 'string', default: '60' },
    entries: { type: 'string', default: '1000000' },
    json: { type: 'boolean', default: false },
  },
})
const nodes = Number(values.nodes)
const meshNodes = Math.min(nodes, Number(values['mesh-nodes'] ?? 1000))
const idleSeconds = Number(values.idle)
const entries = Number(values.entries)
const meshSizes = values['mesh-sizes'].split(',').map(Number)
if (
  ![nodes, meshNodes, idleSeconds, entries, ...meshSizes].every(
    (value) => Number.isInteger(value) && value >= 0,
  ) ||
  nodes < 1
) {
  process.stderr.write('--nodes, --mesh-nodes, --mesh-sizes, --idle and --entries take whole numbers\n')
  process.exit(2)
}
const log = (line: string): void => {
  process.stderr.write(`${line}\n`)
}

interface Benchmark {
  readonly title: string
  run(): Promise<Figure[]>
}

const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  fleet: {
    title: `${nodes} nodes, ${meshNodes} of them in the mesh`,
    run: () => benchFleet({ nodes, meshNodes, idleSeconds }, log),
  },
  mesh: { title: `the mesh, ${meshSizes.join(', ')} nodes`, run: () => benchMesh(meshSizes, log) },
  secrets: { title: `secrets, ${nodes} nodes`, run: () => benchSecrets(nodes, log) },
  relay: {
    title: 'WireGuard directly and by the relay, two machines as network namespaces',
    run: () => benchRelay(log),
  },
  audit: { title: `the audit trail, ${entries} entries`, run: () => benchAudit(entries, log) },
}

const chosen = positionals.length === 0 ? ['fleet'] : positionals
const unknown = chosen.find((name) => BENCHMARKS[name] === undefined)
if (unknown !== undefined) {
  process.stderr.write(`there is no benchmark ${unknown}; there are ${Object.keys(BENCHMARKS).join(', ')}\n`)
  process.exit(2)
}
for (const name of chosen) {
  const benchmark = BENCHMARKS[name]
  if (benchmark !== undefined) printReport(benchmark.title, await benchmark.run(), values.json)
}
