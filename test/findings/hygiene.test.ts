/** What must be nowhere in the tree: secrets, plaintext addresses, weak randomness, ways around the one module that writes files. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { generateApiToken } from '../../crypto/api-token.ts'
import { bundleWorker } from '../../scripts/worker-bundle.ts'

const ROOT = join(import.meta.dirname, '../..')
const tracked = execFileSync('git', ['ls-files'], { cwd: ROOT, encoding: 'utf8' })
  .split('\n')
  .filter((path) => path !== '')

const read = (path: string): string => {
  try {
    return readFileSync(join(ROOT, path), 'utf8')
  } catch {
    // Deleted, and not yet said so to git.
    return ''
  }
}
const sources = (folders: readonly string[]) =>
  tracked.filter((path) => path.endsWith('.ts') && folders.includes(path.split('/')[0] ?? ''))
const containing = (paths: readonly string[], pattern: RegExp): string[] =>
  paths.filter((path) => pattern.test(read(path)))

/** The root token, also in its first form without a checksum, and API keys; but not what tests take for one. */
const API_TOKEN =
  /\bclaw(?:key)?_(?!0{16})(?!0123456789abcdefghij)(?!wrong)[A-Za-z0-9]{32}(?:[A-Za-z0-9]{6})?\b/

const PROGRAMS = ['protocol', 'crypto', 'host', 'agent', 'cli', 'worker', 'durable-objects']

describe('the tree (I-6)', () => {
  /** Published test vectors hold keys by their nature; everything else makes its own when it runs. */
  const own = tracked.filter((path) => !path.startsWith('test/vectors/') && path !== 'package-lock.json')

  test.each([
    ['a private key in PEM', /-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\r?\n[A-Za-z0-9+/=]/],
    ['an API token', API_TOKEN],
    ['a signed token', /\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}/],
    ['a private JWK', /"d"\s*:\s*"[A-Za-z0-9_-]{43}"/],
    [
      'a cloud key',
      /\b(?:AKIA[0-9A-Z]{16}|ghp_[A-Za-z0-9]{36}|xox[bp]-[0-9A-Za-z-]{20,}|tskey-[a-z]+-[A-Za-z0-9]{10,})/,
    ],
    ['a keyring', /"keys"\s*:\s*\{\s*"1"\s*:\s*"[A-Za-z0-9+/]{43}="/],
    ['a password in an address', /\bhttps?:\/\/[^\s/@:'"`$]+:[^\s/@'"`$]+@(?!(?:host|h|gw)\b)/],
  ])('holds not %s', (_, pattern) => {
    const found = containing(own, pattern).filter((path) => path !== 'test/findings/hygiene.test.ts')
    expect(found).toEqual([])
  })

  test('the search finds what it looks for', () => {
    for (const planted of [
      `claw_${'Zz9'.repeat(10)}ab`,
      generateApiToken('claw'),
      generateApiToken('clawkey'),
    ])
      expect(planted).toMatch(API_TOKEN)
  })

  test('has no default for a secret: every binding that holds one is absent from wrangler.toml', () => {
    const settings = read('wrangler.toml').replace(/^#.*$/gm, '')
    for (const secret of ['MASTER_KEYRING', 'GATEWAY_SIGNING_KEY', 'ADMIN_TOKEN_HASH'])
      expect(settings).not.toContain(secret)
  })

  test('holds no plaintext address of a gateway in documents, examples and defaults (H1.8)', () => {
    const documents = tracked.filter((path) => /\.(md|toml|ya?ml|service|conf)$/.test(path))
    // What says that such an address is refused has to name it; what tells a reader to use one does not exist.
    for (const path of documents.filter((name) => name !== 'docs/audit-findings.md')) {
      const told = read(path).match(/(?:gateway_url\s*=|--gateway|CLAW_GATEWAY=)\s*"?(?:ws|http):\/\/\S+/g)
      expect([path, told]).toEqual([path, null])
    }
  })
})

describe('randomness (I3.1)', () => {
  test('of the Worker is the platform’s: its bundle does not know Math.random', async () => {
    const bundle = await bundleWorker(join(ROOT, 'worker/index.ts'))
    // One helper of the validator has it; nothing calls that helper.
    const helper = /\bfunction randomString\(length=10\)\{.*?return str\}/s
    const ours = bundle.replace(helper, '')
    expect(ours).not.toContain('Math.random')
    expect(ours).not.toMatch(/\brandomString\(/)
  })

  test('without security is one function of the agent’s clock, which spreads load', () => {
    expect(containing(sources(PROGRAMS), /Math\.random/)).toEqual(['agent/clock.ts'])
    // And nothing that makes a key, a token, a nonce or an id takes it from there.
    expect(
      containing(sources(['crypto', 'protocol', 'host', 'worker', 'durable-objects']), /\.random\(\)/),
    ).toEqual([])
    const users = containing(sources(['agent']), /clock\.random\(\)/)
    expect(
      users.filter(
        (path) =>
          !/session\/(supervisor|heartbeat)\.ts$|(?:audit-witness|wireguard-rotation)\.ts$|(?:mesh|secrets|dns)\//.test(
            path,
          ),
      ),
    ).toEqual([])
  })
})

describe('the one way (L2.2, M2.1, H1.5)', () => {
  test('to write a file of agent and CLI is the module of private files', () => {
    const writers = /\b(?:writeFile|appendFile|createWriteStream|copyFile)(?:Sync)?\(/
    // The hosts file is everybody's.
    expect(containing(sources(['agent', 'cli', 'host']), writers)).toEqual([
      'agent/dns/hosts-file.ts',
      'host/private-file.ts',
    ])
  })

  test('to log is the agent’s logger: nothing else of it writes to standard error', () => {
    expect(containing(sources(['agent', 'host', 'cli']), /console\.(?:log|info|warn|error|debug)/)).toEqual(
      [],
    )
    const direct = containing(sources(['agent']), /process\.stderr\.write/)
    expect(direct.filter((path) => !path.startsWith('agent/commands/'))).toEqual(['agent/log.ts'])
  })

  test('to open a connection to a gateway is the agent of checked connections', () => {
    const openers = /\bfrom '(?:node:tls|node:https|ws|node:net|node:http2|undici)'/
    const paths = sources(['agent', 'cli', 'host']).filter((path) =>
      read(path)
        .split('\n')
        .some(
          (line) =>
            openers.test(line) &&
            !line.startsWith('import type') &&
            !/\b(isIP|BlockList|isIPv4|isIPv6|SocketAddress)\b/.test(line),
        ),
    )
    expect(paths.sort()).toEqual(
      expect.arrayContaining(['host/gateway-agent.ts', 'host/gateway-connection.ts']),
    )
    for (const path of paths) {
      // Local sockets and ports, and what a certificate is called; none of them leads to a gateway.
      if (path.startsWith('host/gateway-')) continue
      expect(read(path)).not.toMatch(/\bnew WebSocket\(|\bhttps?\.request\(|tls\.connect\(/)
    }
  })

  test('no check of TLS is switched off anywhere', () => {
    expect(
      containing(
        sources(PROGRAMS),
        /rejectUnauthorized:\s*false|NODE_TLS_REJECT_UNAUTHORIZED|checkServerIdentity:/,
      ),
    ).toEqual([])
  })
})
