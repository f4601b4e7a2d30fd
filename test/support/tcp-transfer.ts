/** One end of a TCP transfer, in a process of its own: `receive ADDRESS`, or `send ADDRESS` until standard input ends. Says bytes and SHA-256. */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'

const PORT = 5_201
const CHUNK_BYTES = 16 * 1024
const EVERY_MS = 20

const [role, host] = process.argv.slice(2)
const hash = createHash('sha256')
let bytes = 0
const take = (chunk: Buffer) => {
  hash.update(chunk)
  bytes += chunk.length
}

if (role === 'receive') {
  const server = createServer().listen(PORT, host)
  await once(server, 'listening')
  process.stdout.write(' ')
  const [socket] = await once(server, 'connection')
  for await (const chunk of socket) take(chunk)
  server.close()
} else {
  let isOver = false
  process.stdin.resume().once('end', () => {
    isOver = true
  })
  const socket = connect(PORT, host)
  await once(socket, 'connect')
  while (!isOver) {
    const chunk = randomBytes(CHUNK_BYTES)
    take(chunk)
    if (!socket.write(chunk)) await once(socket, 'drain')
    await wait(EVERY_MS)
  }
  socket.end()
  await once(socket, 'close')
}
process.stdout.write(JSON.stringify({ bytes, sha256: hash.digest('hex') }))
