/**
 * TCP and UDP of one machine, as a program to be run in its namespace:
 *
 *     serve ADDRESS PORT      echoes, and from a `p` on speaks without being asked, ten times a second; says `ready`
 *     ask ADDRESS PORT        exits with 0 if something echoes within a second
 *     stream ADDRESS PORT     says a line for each echo, ten a second
 *     listen ADDRESS PORT     says a line for each byte that comes without being asked for
 *     fetch ADDRESS PORT N    sends N bytes, and says the SHA-256 of what comes back
 */
import { createHash, randomBytes } from 'node:crypto'
import { createConnection, createServer } from 'node:net'

const [mode, address = '', port = '', size = '0'] = process.argv.slice(2)
const connect = () => createConnection({ host: address, port: Number(port) })

if (mode === 'serve') {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.pipe(socket)
    socket.once('data', (data) => {
      if (String(data) !== 'p') return
      const timer = setInterval(() => socket.write('.'), 100)
      socket.once('close', () => clearInterval(timer))
    })
  })
  server.listen({ host: address, port: Number(port) }, () => process.stdout.write('ready\n'))
} else if (mode === 'ask') {
  const socket = connect()
  socket.setTimeout(1_000, () => process.exit(1))
  socket.on('error', () => process.exit(1))
  socket.on('connect', () => socket.write('?'))
  socket.on('data', () => process.exit(0))
} else if (mode === 'stream' || mode === 'listen') {
  const socket = connect()
  socket.on('error', () => process.exit(1))
  if (mode === 'listen') socket.on('connect', () => socket.write('p'))
  else socket.on('connect', () => setInterval(() => socket.write('x'), 100))
  socket.on('data', (data) => process.stdout.write('echo\n'.repeat(data.length)))
} else if (mode === 'fetch') {
  const content = randomBytes(Number(size))
  const hash = createHash('sha256')
  let received = 0
  const socket = connect()
  socket.on('error', () => process.exit(1))
  socket.on('connect', () => socket.write(content))
  socket.on('data', (data) => {
    hash.update(data)
    received += data.length
    if (received < content.length) return
    const same = hash.digest().equals(createHash('sha256').update(content).digest())
    process.stdout.write(`${same ? 'same' : 'different'}\n`)
    process.exit(0)
  })
}
