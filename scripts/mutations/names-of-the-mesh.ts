/** Guards of the mesh's names, and the tests that must notice when one is lost. */
import { type Edit, type Mutation, mutate } from './mutation.ts'

const ANSWER = 'mesh/dns-answer.test.ts'
const SERVER = 'mesh/dns-server.test.ts'
const HOSTS = 'mesh/hosts-file.test.ts'
const NAMES = 'mesh/mesh-names.test.ts'

const of = (name: string, [file, search, replace]: Edit, test: string): Mutation =>
  mutate(name, [`agent/dns/${file}`, search, replace], ['host', test])

export const NAMES_OF_THE_MESH: readonly Mutation[] = [
  of('an answer is answered', ['wire.ts', 'if ((flags & FLAG.QR) !== 0) return undefined', ''], ANSWER),
  of(
    'a pointer is read as a label',
    ['wire.ts', 'length === undefined || length > MAX_LABEL_BYTES', 'length === undefined'],
    ANSWER,
  ),
  of('bytes after the question are passed over', ['wire.ts', ' && rest.length === 0)', ')'], ANSWER),
  of('a dot within a label ends it', ['wire.ts', ".replaceAll('.', '\\\\.')", ''], ANSWER),
  of(
    'an answer is as long as it gets',
    ['wire.ts', 'if (whole.length <= maxBytes) return whole', 'return whole'],
    ANSWER,
  ),
  of(
    'a name above others does not exist',
    ['mesh-zone.ts', 'all !== undefined || this.#hasBelow(key)', 'all !== undefined'],
    ANSWER,
  ),
  of(
    'of two with one name the last has it',
    ['mesh-zone.ts', 'of uniqueByName(nodes)) {', 'of nodes) {'],
    ANSWER,
  ),
  of(
    'a name of a fleet is taken as it comes',
    ['mesh-zone.ts', 'return label.success ?', 'return true ?'],
    NAMES,
  ),
  of('everybody is heard', ['dns-server.ts', '!this.#options.admits(address) || ', ''], SERVER),
  of(
    'a newcomer waits for those who hold connections',
    ['tcp-listener.ts', 'oldest?.destroy()', 'return void socket.destroy()'],
    SERVER,
  ),
  of(
    'answers that nobody takes pile up',
    ['tcp-listener.ts', 'if (socket.writableLength > MAX_UNREAD_BYTES) socket.destroy()', ''],
    SERVER,
  ),
  of(
    'a foreign line in a block is lost with it',
    ['hosts-block.ts', 'if (!inside || !OURS.test(content)) kept.push(line)', 'if (!inside) kept.push(line)'],
    HOSTS,
  ),
  of('the mode of the file is another', ['hosts-file.ts', 'fchmodSync(file, mode & 0o7777)', ''], HOSTS),
  of('a link becomes a file', ['hosts-file.ts', 'editOnce(realpathSync(hosts),', 'editOnce(hosts,'], HOSTS),
  of(
    'a second name of the file keeps the old lines',
    ['hosts-file.ts', 'if (status.nlink > 1) return writeInPlace(path, content)', ''],
    HOSTS,
  ),
  of('a mounted file is given up', ['hosts-file.ts', "['EBUSY', 'EXDEV', ", "['EXDEV', "], HOSTS),
  of('two agents write the file at once', ['hosts-file.ts', 'if (!held.isOurs)', 'if (false)'], HOSTS),
  of(
    'the server is told before the domains',
    [
      'resolved.ts',
      "await set('domain', iface,",
      "await set('dns', iface, server)\n  await set('domain', iface,",
    ],
    NAMES,
  ),
  of(
    'what is left is not noted before it is done',
    ['machine-names.ts', "    this.#note('hosts')\n", ''],
    NAMES,
  ),
  of(
    'half of what systemd-resolved was told stays',
    ['machine-names.ts', '      await revertNames(commands, iface).catch(() => undefined)\n', ''],
    NAMES,
  ),
  of(
    'an interface of another making loses its names',
    ['names-record.ts', ' && index === interfaceIndex(this.#iface)', ''],
    NAMES,
  ),
]
