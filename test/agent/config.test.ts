/** R8 and R2: one pass over file, environment and flags, before anything is sent or written, that names all that is wrong. */
import { chmodSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { type EffectiveConfig, loadNodeConfig, readNodeConfig } from '../../agent/config/node-config.ts'
import { DEFAULT_CONFIG_FILE, NODE_SETTINGS } from '../../agent/config/settings.ts'
import { UserError } from '../../host/user-error.ts'
import { clawnode } from '../support/clawnode.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { joinedDirectory } from './joined-directory.ts'
import { certificates, startGateway } from './start-gateway.ts'

const PIN = 'ab'.repeat(32)

let home: string
let file: string
let dir: string

beforeEach(() => {
  home = temporaryDirectory()
  file = join(home, 'config.toml')
  dir = join(home, 'state')
})

function write(toml: string, mode = 0o644): void {
  writeFileSync(file, toml)
  chmodSync(file, mode)
}

const read = (
  flags: Parameters<typeof readNodeConfig>[0]['settings'] = {},
  env: NodeJS.ProcessEnv = {},
): EffectiveConfig =>
  readNodeConfig({ config: existsSync(file) ? file : undefined, settings: { dir, ...flags } }, {}, env)

const codes = ({ problems }: EffectiveConfig) =>
  problems.found.map(({ setting, code }) => `${setting} ${code}`)

const caFile = (content: string): string => {
  const path = join(home, 'ca.pem')
  writeFileSync(path, content)
  return path
}

describe('precedence', () => {
  test('flags before the environment before the file before the defaults', () => {
    write('interface = "file0"\nlisten_port = 1001\nlog_level = "warn"\nmesh = false')
    const env = { CLAWNODE_INTERFACE: 'env0', CLAWNODE_LISTEN_PORT: '1002' }
    const { config, settings } = read({ interface: 'flag0' }, env)
    expect(config).toMatchObject({
      interface: 'flag0',
      listenPort: 1002,
      logLevel: 'warn',
      mesh: false,
      userspace: false,
      names: 'auto',
    })
    expect(settings).toMatchObject({
      interface: { source: '--interface' },
      listen_port: { source: 'CLAWNODE_LISTEN_PORT' },
      log_level: { source: file },
    })
  })

  test('every setting can be made in the file and in the environment', () => {
    const ca = caFile(certificates.ca)
    write(
      [
        `dir = ${JSON.stringify(dir)}`,
        'gateway_url = "wss://gw.example.com"',
        `gateway_ca_cert = ${JSON.stringify(ca)}`,
        `gateway_cert_fingerprint = ["${PIN}", "${PIN}"]`,
        'require_tls = true',
        'name = "node-a"',
        'mesh = true',
        'interface = "claw7"',
        'listen_port = 7',
        'public_endpoint = "203.0.113.9:7"',
        'stun = ["stun.example.com:3478", "[2001:db8::1]:3478"]',
        'userspace = true',
        'names = "hosts"',
        'routes = ["192.168.7.0/24", "FD00:7:0::/64"]',
        'routes_masquerade = false',
        'secrets_cache = false',
        'secrets_cache_max_age = "2h"',
        'wireguard_rotation = "12h"',
        'psk = "ml-kem-768"',
        'log_level = "debug"',
      ].join('\n'),
    )
    const fromFile = readNodeConfig({ config: file, settings: {} }, {}, {})
    const env = {
      CLAWNODE_DIR: dir,
      CLAWNODE_GATEWAY_URL: 'wss://gw.example.com',
      CLAWNODE_GATEWAY_CA_CERT: ca,
      CLAWNODE_GATEWAY_CERT_FINGERPRINT: `${PIN}, ${PIN}`,
      CLAWNODE_REQUIRE_TLS: 'true',
      CLAWNODE_NAME: 'node-a',
      CLAWNODE_MESH: '1',
      CLAWNODE_INTERFACE: 'claw7',
      CLAWNODE_LISTEN_PORT: '7',
      CLAWNODE_PUBLIC_ENDPOINT: '203.0.113.9:7',
      CLAWNODE_STUN: 'stun.example.com:3478,[2001:db8::1]:3478',
      CLAWNODE_USERSPACE: 'true',
      CLAWNODE_NAMES: 'hosts',
      CLAWNODE_ROUTES: '192.168.7.0/24 FD00:7:0::/64',
      CLAWNODE_ROUTES_MASQUERADE: 'false',
      CLAWNODE_SECRETS_CACHE: '0',
      CLAWNODE_SECRETS_CACHE_MAX_AGE: '2h',
      CLAWNODE_WIREGUARD_ROTATION: '12h',
      CLAWNODE_PSK: 'ml-kem-768',
      CLAWNODE_LOG_LEVEL: 'debug',
    }
    const fromEnv = readNodeConfig({ config: undefined, settings: {} }, {}, env)
    for (const { config, problems, settings } of [fromFile, fromEnv]) {
      expect(problems.found).toEqual([])
      expect(Object.keys(settings).sort()).toEqual(Object.keys(NODE_SETTINGS).sort())
      expect(config).toMatchObject({
        directory: dir,
        gatewayUrl: { origin: 'https://gw.example.com' },
        ca: certificates.ca,
        pins: [PIN, PIN],
        name: 'node-a',
        mesh: true,
        interface: 'claw7',
        listenPort: 7,
        publicEndpoint: '203.0.113.9:7',
        stun: ['stun.example.com:3478', '[2001:db8::1]:3478'],
        userspace: true,
        names: 'hosts',
        routes: ['192.168.7.0/24', 'fd00:7::/64'],
        routesMasquerade: false,
        secretsCache: { isUsed: false, isKept: false, maxAgeMs: 7_200_000 },
        wireguardRotationMs: 43_200_000,
        psk: 'ml-kem-768',
        logLevel: 'debug',
      })
    }
  })

  test.each([['"off"'], ['"0"']])('WireGuard keys change each month, and with %s on command only', (off) => {
    write('')
    expect(read({}).config).toMatchObject({ wireguardRotationMs: 30 * 86_400_000, psk: 'off' })
    write(`wireguard_rotation = ${off}`)
    expect(read({}).config).toHaveProperty('wireguardRotationMs', undefined)
  })

  test('secrets are kept for a day; --no-cache is of one command, the setting of the node', () => {
    write('')
    const day = 86_400_000
    expect(read({}).config?.secretsCache).toEqual({ isUsed: true, isKept: true, maxAgeMs: day })
    const once = read({ secrets_cache: false }).config?.secretsCache
    expect(once).toEqual({ isUsed: false, isKept: true, maxAgeMs: day })
  })

  test('CLAWNODE_CONFIG names the file, --config another', () => {
    write('interface = "file0"')
    const env = { CLAWNODE_CONFIG: file }
    expect(readNodeConfig({ config: undefined, settings: { dir } }, {}, env).config?.interface).toBe('file0')
    const other = join(home, 'other.toml')
    writeFileSync(other, 'interface = "other0"', { mode: 0o644 })
    expect(readNodeConfig({ config: other, settings: { dir } }, {}, env).config?.interface).toBe('other0')
    expect(DEFAULT_CONFIG_FILE).toBe('/etc/clawnode/config.toml')
  })
})

describe('what is wrong', () => {
  test.each<[string, Record<string, string>, string]>([
    ['H1.1 plaintext, require_tls absent', { gateway_url: '"ws://gw"' }, 'gateway_url E_INSECURE_TRANSPORT'],
    ['H1.1 http', { gateway_url: '"HTTP://gw"' }, 'gateway_url E_INSECURE_TRANSPORT'],
    ['H1.2 a password in the address', { gateway_url: '"https://a:b@gw"' }, 'gateway_url E_GATEWAY_URL'],
    ['a rotation each minute', { wireguard_rotation: '"1m"' }, 'wireguard_rotation E_ROTATION_INVALID'],
    [
      'a rotation that is no time',
      { wireguard_rotation: '"monthly"' },
      'wireguard_rotation E_ROTATION_INVALID',
    ],
    ['another way to shared keys', { psk: '"yes"' }, 'psk E_PSK_INVALID'],
    ['an age without end', { secrets_cache_max_age: '"365d"' }, 'secrets_cache_max_age E_CACHE_AGE_INVALID'],
    [
      'an age that is no time',
      { secrets_cache_max_age: '"24"' },
      'secrets_cache_max_age E_CACHE_AGE_INVALID',
    ],
    ['R2 require_tls off', { require_tls: 'false' }, 'require_tls E_REQUIRE_TLS'],
    [
      'M1.2 a pin that is none',
      { gateway_cert_fingerprint: '"abc"' },
      'gateway_cert_fingerprint E_PIN_INVALID',
    ],
    ['M1.1 a CA that is not there', { gateway_ca_cert: '"/no/such/ca.pem"' }, 'gateway_ca_cert E_CA_INVALID'],
    ['M1.1 a CA that is none', { gateway_ca_cert: '"/dev/null"' }, 'gateway_ca_cert E_CA_INVALID'],
    ['a port of 0', { listen_port: '0' }, 'listen_port E_PORT_INVALID'],
    ['a port too high', { listen_port: '65536' }, 'listen_port E_PORT_INVALID'],
    ['a port that is text', { listen_port: '"51820"' }, 'listen_port E_CONFIG_TYPE'],
    ['an endpoint by name', { public_endpoint: '"gpu.example.com:7"' }, 'public_endpoint E_ENDPOINT_INVALID'],
    ['a STUN server without a port', { stun: '["stun.example.com"]' }, 'stun E_STUN_INVALID'],
    ['a STUN server at no port', { stun: '["stun.example.com:70000"]' }, 'stun E_STUN_INVALID'],
    ['an interface that is a flag', { interface: '"-x"' }, 'interface E_INTERFACE_INVALID'],
    ['an interface too long', { interface: '"abcdefghijklmnop"' }, 'interface E_INTERFACE_INVALID'],
    ['a name that is no DNS label', { name: '"Node A"' }, 'name E_NAME_INVALID'],
    ['a level that is none', { log_level: '"loud"' }, 'log_level E_LOG_LEVEL_INVALID'],
    ['a way to names that is none', { names: '"dnsmasq"' }, 'names E_NAMES_INVALID'],
    ['a network that is none', { routes: '["192.168.7.1/24"]' }, 'routes E_ROUTES_INVALID'],
    ['all networks', { routes: '["0.0.0.0/0"]' }, 'routes E_ROUTES_INVALID'],
    ['a public network', { routes: '["8.8.8.0/24"]' }, 'routes E_ROUTES_INVALID'],
    [
      'more networks than a node may have',
      { routes: JSON.stringify(Array.from({ length: 17 }, (_, n) => `10.1.${n}.0/24`)) },
      'routes E_ROUTES_INVALID',
    ],
    ['a truth that is none', { userspace: '"yes"' }, 'userspace E_CONFIG_TYPE'],
    ['no pin at all', { gateway_cert_fingerprint: '[]' }, 'gateway_cert_fingerprint E_CONFIG_TYPE'],
    ['an empty text', { gateway_ca_cert: '""' }, 'gateway_ca_cert E_CONFIG_TYPE'],
    ['pins of several kinds', { gateway_cert_fingerprint: '[1]' }, 'gateway_cert_fingerprint E_CONFIG_TYPE'],
    ['an unknown setting', { gateway_uri: '"https://gw"' }, 'gateway_uri E_CONFIG_UNKNOWN'],
    ['one that every object has', { constructor: '"x"' }, 'constructor E_CONFIG_UNKNOWN'],
  ])('%s', (_, settings, expected) => {
    write(
      Object.entries(settings)
        .map(([name, value]) => `${name} = ${value}`)
        .join('\n'),
    )
    expect(codes(read())).toEqual([expected])
    expect(read().config === undefined || expected.includes('E_CONFIG_')).toBe(true)
  })

  test('H1.1, M1.5: plaintext names ws:// and require_tls, and neither pin nor CA makes it better', () => {
    write(
      `gateway_url = "ws://gw"\ngateway_cert_fingerprint = "${PIN}"\ngateway_ca_cert = "${caFile(certificates.ca)}"`,
    )
    const { problems } = read()
    expect(problems.found.map(({ code }) => code)).toEqual([
      'E_INSECURE_TRANSPORT',
      'E_PIN_WITHOUT_TLS',
      'E_PIN_WITHOUT_TLS',
    ])
    expect(problems.found[0]?.message).toMatch(/ws:\/\/.*require_tls/)
  })

  test('R2: require_tls = false is refused with its reason, together with the address it was meant for', () => {
    write('gateway_url = "ws://gw"\nrequire_tls = false')
    expect(codes(read())).toEqual(['require_tls E_REQUIRE_TLS', 'gateway_url E_INSECURE_TRANSPORT'])
    expect(read().problems.found[0]?.message).toContain('no gateway has a plaintext port')
  })

  test('a misspelled name is told what was meant, in the file and in the environment', () => {
    write('gateway-url = "https://gw"\nrequire_tsl = true')
    const { problems } = read({}, { CLAWNODE_GATEWAY_ULR: 'https://gw', CLAWNODEX: 'another’s' })
    expect(problems.found.map(({ setting, fix }) => [setting, fix])).toEqual([
      ['gateway-url', 'did you mean gateway_url?'],
      ['require_tsl', 'did you mean require_tls?'],
      ['CLAWNODE_GATEWAY_ULR', 'did you mean CLAWNODE_GATEWAY_URL?'],
    ])
  })

  test('a value of the environment or a flag of the wrong form', () => {
    const env = {
      CLAWNODE_MESH: 'maybe',
      CLAWNODE_LISTEN_PORT: '1e3',
      CLAWNODE_GATEWAY_CERT_FINGERPRINT: ' ',
    }
    expect(codes(read({ listen_port: '-1' }, env))).toEqual([
      'gateway_cert_fingerprint E_CONFIG_TYPE',
      'mesh E_CONFIG_TYPE',
      'listen_port E_CONFIG_TYPE',
      'listen_port E_CONFIG_TYPE',
    ])
  })

  test('a file that anybody can write, that is not there, or that is no TOML, and nothing of it is told', () => {
    write('interface = "claw1"', 0o666)
    expect(codes(read())).toEqual(['config E_CONFIG_FILE'])
    write('a password: canary-91fe')
    const { problems } = read()
    expect(problems.found[0]?.message).toContain('line 1')
    expect(JSON.stringify(problems.found)).not.toContain('canary')
    const absent = readNodeConfig({ config: join(home, 'absent.toml'), settings: { dir } }, {}, {})
    expect(codes(absent)).toEqual(['config E_CONFIG_FILE'])
    const directory = readNodeConfig({ config: home, settings: { dir } }, {}, {})
    expect(codes(directory)).toEqual(['config E_CONFIG_FILE'])
  })

  test('M2.3: a state directory or a key file that others can open, or that is a link', () => {
    mkdirSync(dir, { mode: 0o755 })
    chmodSync(dir, 0o755)
    for (const name of ['identity.key', 'sealing.key', 'identity.next.key', 'node.json', 'generation'])
      writeFileSync(join(dir, name), 'x')
    for (const name of ['identity.key', 'identity.next.key', 'generation']) chmodSync(join(dir, name), 0o644)
    for (const name of ['sealing.key', 'node.json']) chmodSync(join(dir, name), 0o600)
    symlinkSync(join(dir, 'sealing.key'), join(dir, 'wireguard.key'))
    const { problems } = read()
    expect(problems.found.map(({ code }) => code)).toEqual(Array(5).fill('E_FILE_PERMISSIONS'))
    for (const name of ['identity.key', 'identity.next.key', 'generation'])
      expect(problems.found.some(({ fix }) => fix === `chmod 600 ${join(dir, name)}`)).toBe(true)
    expect(problems.found[0]?.fix).toBe(`chmod 700 ${dir}`)
    expect(problems.found.some(({ message }) => message.includes('symbolic link'))).toBe(true)
  })

  test('another gateway than the one that was joined', async () => {
    const gateway = await startGateway()
    onTestFinished(() => gateway.close())
    dir = await joinedDirectory(gateway)
    write('gateway_url = "https://other.example.com"')
    expect(codes(read())).toEqual(['gateway_url E_ALREADY_JOINED'])
    write(`gateway_url = "${gateway.url}"`)
    expect(codes(read())).toEqual([])
  })

  test('is told all at once, as E_CONFIG, and exits with 78', () => {
    write('gateway_url = "ws://gw"\nlisten_port = 0\nintreface = "x"')
    const load = () => loadNodeConfig({ config: file, settings: { dir } })
    expect(load).toThrow(UserError)
    expect(load).toThrow(
      expect.objectContaining({ code: 'E_CONFIG', exitCode: 78, problems: expect.arrayContaining([]) }),
    )
    try {
      load()
    } catch (error) {
      expect(error instanceof UserError && error.problems).toHaveLength(3)
    }
  })
})

describe('the commands', () => {
  const WRONG = 'gateway_url = "ws://gw"\nlisten_port = 0\nuserspce = true'
  const env = { PATH: process.env['PATH'] }

  test.each([
    ['run', []],
    ['status', []],
    ['rotate-identity', []],
    ['rotate-wireguard', []],
    ['join', ['--token-file', '/dev/null']],
  ])('%s names every problem, and has touched nothing', async (command, args) => {
    write(WRONG)
    const output = await clawnode([command, '--config', file, '--dir', dir, ...args])
    expect(output).toMatchObject({ code: 78, stdout: '' })
    for (const text of [
      '3 problems',
      'ws://',
      'require_tls',
      'listen_port',
      'did you mean userspace?',
      'E_CONFIG',
    ])
      expect(output.stderr).toContain(text)
    expect(existsSync(dir)).toBe(false)
    expect(readdirSync(home)).toEqual(['config.toml'])
  })

  test('exec keeps its own exit code, and starts nothing', async () => {
    write(WRONG)
    const args = [
      'exec',
      '--config',
      file,
      '--dir',
      dir,
      '--secret',
      'A=a',
      '--',
      'touch',
      join(home, 'started'),
    ]
    expect(await clawnode(args)).toMatchObject({ code: 125, stderr: expect.stringContaining('E_CONFIG') })
    expect(existsSync(join(home, 'started'))).toBe(false)
  })

  test('a joined node runs by the CA and the pins of its configuration', async () => {
    const gateway = await startGateway()
    onTestFinished(() => gateway.close())
    dir = await joinedDirectory(gateway)
    gateway.secrets.set('s', { value: Buffer.from('v'), allowed: true })
    const exec = () => clawnode(['exec', '--config', file, '--dir', dir, '--secret', 'S=s', '--', 'true'])
    write(`gateway_cert_fingerprint = "${PIN}"`)
    expect(await exec()).toMatchObject({ code: 125, stderr: expect.stringContaining('E_PIN_MISMATCH') })
    write('log_level = "info"')
    expect(await exec()).toMatchObject({ code: 0 })
  })

  test('check-config shows each value and where it comes from, of a pin only the beginning', async () => {
    write(
      `gateway_url = "https://gw.example.com"\ngateway_cert_fingerprint = ["${PIN}", "sha256/${Buffer.from(PIN, 'hex').toString('base64')}"]`,
    )
    const args = ['check-config', '--config', file, '--dir', dir, '--listen-port', '7']
    const shown = await clawnode(args, { env: { ...env, CLAWNODE_LOG: 'debug' } })
    expect(shown).toMatchObject({ code: 0, stderr: '' })
    expect(shown.stdout).toMatch(/^SETTING +VALUE +SOURCE\n/)
    expect(shown.stdout).toMatch(new RegExp(`gateway_url +https://gw.example.com +${file}\n`))
    expect(shown.stdout).toMatch(/listen_port +7 +--listen-port\n/)
    expect(shown.stdout).toMatch(/log_level +debug +CLAWNODE_LOG\n/)
    expect(shown.stdout).toMatch(/require_tls +true +default\n/)
    expect(shown.stdout).not.toContain(PIN)
    expect(shown.stdout).toContain('abababab…')

    const { stdout } = await clawnode([...args, '-o', 'json'])
    const json = JSON.parse(stdout)
    expect(json).toMatchObject({ kind: 'NodeConfig', valid: true, problems: [] })
    expect(json.items.map(({ setting }: { setting: string }) => setting)).toEqual(Object.keys(NODE_SETTINGS))
    expect(existsSync(dir)).toBe(false)
  })

  test('check-config of a wrong one shows the rest, and never a password', async () => {
    write('gateway_url = "https://user:canary-77@gw"\nlisten_port = 0')
    const args = ['check-config', '--config', file, '--dir', dir]
    const shown = await clawnode(args)
    expect(shown.code).toBe(78)
    expect(shown.stderr).toContain('2 problems')
    expect(shown.stdout + shown.stderr).not.toContain('canary')
    const json = await clawnode([...args, '-o', 'json'])
    expect(json.code).toBe(78)
    expect(JSON.parse(json.stdout)).toMatchObject({ valid: false, problems: [{}, {}] })
    expect(JSON.parse(json.stderr)).toMatchObject({ error: { code: 'E_CONFIG', problems: [{}, {}] } })
    expect(json.stdout + json.stderr).not.toContain('canary')
  })

  test('CLAWNODE_ variables that nobody knows are refused', async () => {
    const output = await clawnode(['status', '--dir', dir], { env: { ...env, CLAWNODE_DRI: dir } })
    expect(output).toMatchObject({ code: 78, stderr: expect.stringContaining('did you mean CLAWNODE_DIR?') })
  })
})
