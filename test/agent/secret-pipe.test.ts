/** A named pipe with a number of reads, read by real processes. */
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, lstatSync } from 'node:fs'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../agent/clock.ts'
import { SecretPipe } from '../../agent/secrets/secret-pipe.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const path = () => join(temporaryDirectory(), 'pipe')

function open(value: Uint8Array, maxReads: number, at = path()): { at: string; pipe: SecretPipe } {
  const pipe = new SecretPipe(at, SecretBytes.take(Uint8Array.from(value)), maxReads, systemClock)
  onTestFinished(() => pipe.close())
  return { at, pipe }
}

async function read(at: string): Promise<Buffer> {
  const cat = spawn('cat', [at], { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void cat.kill('SIGKILL'))
  return buffer(cat.stdout)
}

test('each of the reads gets the value, and after the last there is no pipe', async () => {
  const { at } = open(Buffer.from('hunter2'), 3)
  expect(lstatSync(at).isFIFO()).toBe(true)
  expect(lstatSync(at).mode & 0o777).toBe(0o600)
  for (let n = 0; n < 3; n++) expect((await read(at)).toString()).toBe('hunter2')
  expect(existsSync(at)).toBe(false)
})

test('reads that follow each other at once are not mixed up', async () => {
  const { at } = open(Buffer.from('hunter2'), 40)
  const reader = spawn('sh', ['-c', 'for n in $(seq 40); do cat "$0"; echo; done', at])
  onTestFinished(() => void reader.kill('SIGKILL'))
  expect((await buffer(reader.stdout)).toString()).toBe('hunter2\n'.repeat(40))
})

test('a value larger than a pipe holds arrives whole', async () => {
  const value = randomBytes(1024 * 1024)
  const { at } = open(value, 1)
  const hash = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
  expect(hash(await read(at))).toBe(hash(value))
})

test('an empty value is an empty file', async () => {
  const { at } = open(new Uint8Array(), 1)
  expect((await read(at)).length).toBe(0)
  expect(existsSync(at)).toBe(false)
})

test('a reader that leaves early has had its read', async () => {
  const { at } = open(randomBytes(1024 * 1024), 2)
  const head = spawn('head', ['-c', '1', at], { stdio: ['ignore', 'ignore', 'inherit'] })
  await once(head, 'exit')
  expect((await read(at)).length).toBe(1024 * 1024)
  expect(existsSync(at)).toBe(false)
})

test('closed, it is gone, and a new one may take its place', async () => {
  const { at, pipe } = open(Buffer.from('old'), 5)
  pipe.close()
  expect(existsSync(at)).toBe(false)
  open(Buffer.from('new'), 1, at)
  expect((await read(at)).toString()).toBe('new')
})
