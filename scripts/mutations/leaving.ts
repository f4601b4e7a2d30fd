/** Guards of a node that leaves, and the tests that must notice when one is lost. */
import { type Mutation, mutate } from './mutation.ts'

const GATEWAY = ['gateway', 'gateway/node-leave.test.ts'] as const
const AGENT = ['host', 'agent/leave.test.ts'] as const
const LEFT = ['host', 'mesh/left-mesh.test.ts'] as const
const LEAVE = 'agent/commands/leave.ts'

export const LEAVING: readonly Mutation[] = [
  mutate(
    'a proof lets a node leave again and again',
    [
      'worker/routes/node-leave.ts',
      'import { requireNode } from',
      'import { requireReadingNode as requireNode } from',
    ],
    GATEWAY,
  ),
  mutate(
    'a node that leaves is taken off by its name',
    [
      'durable-objects/node-standing.ts',
      'const node = this.#fleet.nodes.get(id)\n    if (node === undefined || node.removed) return false',
      'const left = this.#fleet.nodes.get(id)\n    const node = left && this.#fleet.nodes.byName(left.name)\n    if (node === undefined) return false',
    ],
    GATEWAY,
  ),
  mutate(
    'the machine is cleared whatever the gateway says',
    [LEAVE, "if (error.code !== ('E_NODE_REMOVED' satisfies ErrorCode)) throw nothingChanged(error)", ''],
    AGENT,
  ),
  mutate(
    'a node that was removed already can never leave',
    [LEAVE, "error.code !== ('E_NODE_REMOVED' satisfies ErrorCode)", 'error.code.length > 0'],
    AGENT,
  ),
  mutate(
    'keys are removed, but not overwritten',
    [
      'host/wiped-file.ts',
      '  wipeFile(path)\n  rmSync(path, { force: true })',
      '  rmSync(path, { force: true })',
    ],
    AGENT,
  ),
  mutate(
    'files that are not ours are removed',
    ['agent/state-files.ts', 'filter((name) => isOurs(name) && !', 'filter((name) => !'],
    AGENT,
  ),
  mutate(
    'an interface without a key is that of a node without one',
    ['agent/mesh/backend.ts', 'found !== undefined && found === publicKey', 'found === publicKey'],
    LEFT,
  ),
  mutate(
    'the tables of another are taken away',
    ['agent/mesh/left-mesh.ts', 'if (!(await backend.removeLeft())) return', 'await backend.removeLeft()'],
    LEFT,
  ),
]
