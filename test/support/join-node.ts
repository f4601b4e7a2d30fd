/** A machine of a gateway that a test file has for itself. */
import { join } from 'node:path'
import { expect } from 'vitest'
import { clawnode } from './clawnode.ts'
import type { OwnGateway } from './own-gateway.ts'

/** Joins, and runs no agent. Its state is in the directory of its name. */
export async function joinNode(gateway: OwnGateway, name: string, tag: string): Promise<void> {
  const { url, ca } = gateway.running
  const { stdout: token } = await gateway.run(['token', 'create', '--tag', tag])
  const place = ['--gateway', url, '--ca', ca, '--dir', join(gateway.home, name)]
  const joined = await clawnode(['join', ...place, '--token-file', '-', '--name', name], { input: token })
  expect(joined.code, joined.stderr).toBe(0)
}
