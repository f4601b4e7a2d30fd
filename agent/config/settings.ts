/** The settings of `clawnode`: what each is called in config.toml, in the environment and on the command line. */
import type { SettingSpecs } from '../../host/settings.ts'

export const PREFIX = 'CLAWNODE_'
export const CONFIG_VARIABLE = 'CLAWNODE_CONFIG'
export const DEFAULT_CONFIG_FILE = '/etc/clawnode/config.toml'

export const NODE_SETTINGS = {
  dir: { kind: 'text', env: ['CLAWNODE_DIR'], flag: '--dir' },
  gateway_url: { kind: 'text', env: ['CLAWNODE_GATEWAY_URL'], flag: '--gateway' },
  gateway_ca_cert: { kind: 'text', env: ['CLAWNODE_GATEWAY_CA_CERT'], flag: '--ca' },
  gateway_cert_fingerprint: {
    kind: 'list',
    env: ['CLAWNODE_GATEWAY_CERT_FINGERPRINT'],
    flag: '--fingerprint',
  },
  require_tls: { kind: 'boolean', env: ['CLAWNODE_REQUIRE_TLS'] },
  name: { kind: 'text', env: ['CLAWNODE_NAME'], flag: '--name' },
  mesh: { kind: 'boolean', env: ['CLAWNODE_MESH'], flag: '--no-mesh' },
  interface: { kind: 'text', env: ['CLAWNODE_INTERFACE'], flag: '--interface' },
  listen_port: { kind: 'integer', env: ['CLAWNODE_LISTEN_PORT'], flag: '--listen-port' },
  public_endpoint: { kind: 'text', env: ['CLAWNODE_PUBLIC_ENDPOINT'], flag: '--public-endpoint' },
  stun: { kind: 'list', env: ['CLAWNODE_STUN'], flag: '--stun' },
  userspace: { kind: 'boolean', env: ['CLAWNODE_USERSPACE'], flag: '--userspace' },
  names: { kind: 'text', env: ['CLAWNODE_NAMES'], flag: '--no-names' },
  routes: { kind: 'list', env: ['CLAWNODE_ROUTES'], flag: '--route' },
  routes_masquerade: { kind: 'boolean', env: ['CLAWNODE_ROUTES_MASQUERADE'], flag: '--no-masquerade' },
  secrets_cache: { kind: 'boolean', env: ['CLAWNODE_SECRETS_CACHE'], flag: '--no-cache' },
  secrets_cache_max_age: { kind: 'text', env: ['CLAWNODE_SECRETS_CACHE_MAX_AGE'] },
  wireguard_rotation: { kind: 'text', env: ['CLAWNODE_WIREGUARD_ROTATION'] },
  psk: { kind: 'text', env: ['CLAWNODE_PSK'] },
  log_level: { kind: 'text', env: ['CLAWNODE_LOG_LEVEL', 'CLAWNODE_LOG'] },
} as const satisfies SettingSpecs

export type SettingName = keyof typeof NODE_SETTINGS
