/** Guards of the embedded gateway. */
import { type Mutation, mutate } from './mutation.ts'

const SOCKET = ['host', 'cli/public-socket.test.ts'] as const

export const EMBEDDED: readonly Mutation[] = [
  mutate(
    'a request for no host or several reaches the gateway',
    [
      'worker/embedded.ts',
      "namesOneTarget(request) ? gateway.fetch(request, env, ctx) : refuse('E_TARGET_INVALID')",
      'gateway.fetch(request, env, ctx)',
    ],
    [...SOCKET, 'bytes that no HTTP client sends'],
  ),
  mutate(
    "Miniflare's own entry does what anybody says",
    ['worker/embedded.ts', "if (!isKeeper(request.headers.get('claw-keeper'), env))", 'if (false)'],
    ['gateway', 'gateway/embedded.test.ts', 'nobody without the key'],
  ),
  mutate(
    "the public socket is bound to Miniflare's door",
    ['cli/up/public-socket.ts', ', entrypoint: ENTRYPOINT', ''],
    ['host', 'cli/embedded-gateway.test.ts', 'what the socket says'],
  ),
  mutate(
    "a client speaks Cloudflare's word",
    ['cli/up/public-socket.ts', "options: { injectRequestHeaders: [{ name: 'CF-Connecting-IP' }] },", ''],
    ['host', 'cli/embedded-gateway.test.ts', 'what the socket says'],
  ),
  mutate(
    'who guesses at an embedded gateway is not slowed',
    ['worker/rate-limit.ts', "typeof peer === 'string' ?", "typeof peer === 'number' ?"],
    [...SOCKET, 'who guesses'],
  ),
  mutate(
    'settings that do not start are kept',
    ['cli/up/embedded-gateway.ts', 'await apply(before)', ''],
    ['host', 'cli/embedded-gateway.test.ts', 'given up'],
  ),
  mutate(
    'a master key is replaced under its number',
    [
      'cli/up/keyring-file.ts',
      'if (was !== undefined && is !== undefined && !was.equals(is))',
      'if (was === is)',
    ],
    ['host', 'cli/keyring-file.test.ts', 'no other key'],
  ),
  mutate(
    'the master key in use is taken away',
    ['cli/up/keyring-file.ts', 'if (version === active) throw isActive(version)', ''],
    ['host', 'cli/keyring-file.test.ts', 'in use'],
  ),
  mutate(
    'two commands change the keyring at once',
    ['cli/up/keyring-file.ts', 'if (lock === undefined) throw isBeingEdited(path)', ''],
    ['host', 'cli/keyring-file.test.ts', 'stuck'],
  ),
  mutate(
    'a reload makes anew what is missing',
    ['cli/up/key-files.ts', "if (readText(path) === undefined) throw damaged(path, 'it is missing')", ''],
    ['host', 'cli/reload.test.ts', 'refused in one line'],
  ),
]
