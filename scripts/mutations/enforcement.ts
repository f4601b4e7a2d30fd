/** Guards of what a node lets through and routes, and the tests that must notice when one is lost. */
import { type Edit, type Mutation, mutate } from './mutation.ts'

const RULES = 'mesh/rules.netns.test.ts'
const TABLE = 'mesh/firewall.test.ts'
const ROUTES = 'mesh/subnet-routes.netns.test.ts'
const MTU = 'mesh/path-mtu.test.ts'
const POOL = 'findings/address-pool.test.ts'

const of = (name: string, edit: Edit, test: string, project: Mutation['project'] = 'host'): Mutation =>
  mutate(name, edit, [project, test])

export const ENFORCEMENT: readonly Mutation[] = [
  of(
    'a peer is let in where nothing enforces its rules',
    ['agent/mesh/unrestricted-peers.ts', 'peers: peers.filter(mayPass),', 'peers,'],
    TABLE,
  ),
  of(
    'a rule for a network behind the node is taken for one for the node',
    ['agent/mesh/unrestricted-peers.ts', 'to === undefined && allow.some', 'allow.some'],
    TABLE,
  ),
  of(
    'rules are not kept with the map',
    ['agent/mesh/map.ts', 'map.#rules = parsed.data.rules ?? null', ''],
    TABLE,
  ),
  of(
    'a table that could not be written is taken for one that is there',
    [
      'agent/mesh/firewall.ts',
      'if (!(await this.#isThere())) this.#applied = undefined',
      'this.#applied ??= table',
    ],
    TABLE,
  ),
  of('the table of another is removed', ['agent/mesh/firewall.ts', 'if (!this.#isOurs) return', ''], TABLE),
  of(
    'whatever comes out of the tunnel is forwarded',
    [
      'agent/mesh/firewall-script.ts',
      "...chain('from_mesh', ['ct direction reply accept', 'jump errors', 'jump judge', deny])",
      "...chain('from_mesh', ['accept'])",
    ],
    RULES,
  ),
  of(
    'a forgotten connection passes for one that this node has begun',
    [
      'agent/mesh/firewall-script.ts',
      "    'ct state new meta l4proto tcp tcp flags & (syn | ack) != syn counter name denied reject with tcp reset',\n",
      '',
    ],
    RULES,
  ),
  of(
    'the gateway says what a node forwards to',
    ['agent/mesh/served-routes.ts', '.filter((network) => this.#offers.includes(network))', ''],
    ROUTES,
  ),
  of(
    'a local network is given up for a peer’s',
    ['agent/mesh/peer-routes.ts', 'if (conflict !== undefined) return', 'if (conflict === null) return'],
    ROUTES,
  ),
  of('forwarding stays on', ['agent/mesh/forwarding.ts', "await this.#write(path, '0')", ''], ROUTES),
  of(
    'two nodes are the way to one network',
    ['durable-objects/node-routes.ts', 'if (holder !== undefined)', 'if (holder === null)'],
    'gateway/node-routes.test.ts',
    'gateway',
  ),
  of(
    'a released address is given again at once',
    ['durable-objects/address-pool.ts', 'range, now - ADDRESS_QUARANTINE_MS)', 'range, now)'],
    POOL,
  ),
  of(
    'an address asked for by name tells where fresh ones begin',
    ['durable-objects/address-leases.ts', 'WHERE named = 0 AND ipv4', 'WHERE ipv4'],
    'gateway/node-routes.test.ts',
    'gateway',
  ),
  of(
    'one lost question makes packets small',
    ['agent/mesh/path-mtu.ts', 'const ROUNDS = 3', 'const ROUNDS = 1'],
    MTU,
  ),
]
