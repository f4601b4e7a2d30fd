/**
 * The test projects: `gateway` runs inside workerd with real Durable Objects, D1 and KV; `host` runs under Node, next to real sockets and
 * processes; `e2e` builds whole fleets, one file at a time, because each takes the machine's network namespaces and both cores.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { cloudflareTest, readD1Migrations } from '@cloudflare/vitest-plugin'
import { defineConfig } from 'vitest/config'
import { generateApiToken, hashApiToken } from './crypto/api-token.ts'
import { buildPrograms } from './scripts/programs.ts'

/** Most tests wait for a process or a socket: two at a time are done in half the time also on two cores. */
const WORKERS = 2

// The programs that tests run are those of these sources.
await buildPrograms()
// What tests start from sources compiles them once, and so do the tests' own processes.
process.env['NODE_COMPILE_CACHE'] ??= join(import.meta.dirname, 'node_modules/.cache/compiled')

const adminToken = generateApiToken('claw')

export default defineConfig({
  test: {
    projects: [
      {
        plugins: [
          cloudflareTest({
            wrangler: { configPath: './wrangler.toml' },
            miniflare: {
              bindings: {
                GATEWAY_ORIGINS: 'https://gateway.test https://also.gateway.test',
                SESSION_SHARDS: '4',
                STUN_SERVERS: 'stun.test:3478 [2001:db8::1]:3478',
                RELAYS: 'self wss://relay.test:8444',
                MASTER_KEYRING: JSON.stringify({
                  active: 2,
                  keys: { 1: randomBytes(32).toString('base64'), 2: randomBytes(32).toString('base64') },
                }),
                GATEWAY_SIGNING_KEY: JSON.stringify(
                  generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }),
                ),
                ADMIN_TOKEN_HASH: hashApiToken(adminToken),
                TEST_ADMIN_TOKEN: adminToken,
                TEST_MIGRATIONS: await readD1Migrations('./migrations'),
              },
            },
          }),
        ],
        test: {
          name: 'gateway',
          include: ['test/gateway/**/*.test.ts', 'test/both/**/*.test.ts'],
          testTimeout: 30_000,
          maxWorkers: WORKERS,
        },
      },
      {
        test: {
          name: 'host',
          include: ['test/{both,unit,host,cli,agent,mesh,fuzz,findings}/**/*.test.ts'],
          testTimeout: 60_000,
          maxWorkers: WORKERS,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          fileParallelism: false,
          // After the others: a whole fleet takes both cores, and its tests wait for what happens by the clock.
          sequence: { groupOrder: 1 },
          testTimeout: 240_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
})
