/** Ways in which the guards of the audit trail could be lost. */
import { inFile, type Mutation } from './mutation.ts'

export const AUDIT_TRAIL: readonly Mutation[] = [
  ...inFile('crypto/merkle.ts', 'host', 'both/merkle.test.ts', [
    { name: 'an entry can pass for two hashes', search: 'const LEAF = 0x00', replace: 'const LEAF = 0x01' },
  ]),
  ...inFile('crypto/merkle-proof.ts', 'host', 'unit/merkle.test.ts', [
    {
      name: 'an inclusion proof may be too short',
      search: '  return last === 0 && equalBytes(hash, root)',
      replace: '  return equalBytes(hash, root)',
    },
    {
      name: 'the old root of a consistency proof is not looked at',
      search: 'return last === 0 && equalBytes(oldHash, old.root) && equalBytes(newHash, now.root)',
      replace: 'return last === 0 && equalBytes(newHash, now.root)',
    },
    {
      name: 'the new root of a consistency proof is not looked at',
      search: 'return last === 0 && equalBytes(oldHash, old.root) && equalBytes(newHash, now.root)',
      replace: 'return last === 0 && equalBytes(oldHash, old.root)',
    },
  ]),
  ...inFile('crypto/signed-note.ts', 'host', 'both/signed-note.test.ts', [
    {
      name: 'a note is believed whatever its signature',
      search: "if (!(await verify(key.key, signature, utf8(text)))) return err('forged')",
      replace: 'void verify(key.key, signature, utf8(text))',
    },
    {
      name: 'the id of a verifier key is not checked',
      search: 'return toHex(keyId(key)) === id ? key : undefined',
      replace: 'return id === undefined ? undefined : key',
    },
  ]),
  ...inFile('host/audit-checkpoint.ts', 'host', 'agent/audit-witness.test.ts', [
    {
      name: 'a shorter trail is believed',
      search: 'if (now.size < known.size) return err(rolledBack(known, now))',
      replace: 'if (now.size < known.size) return ok(undefined)',
    },
    {
      name: 'another trail of the same size is believed',
      search:
        'return toBase64(now.root) === toBase64(known.root) ? ok(undefined) : err(rolledBack(known, now))',
      replace: 'return toBase64(now.root) === "" ? err(rolledBack(known, now)) : ok(undefined)',
    },
    {
      name: 'a trail is believed without a proof',
      search:
        'return proof !== undefined && verifyConsistency(known, now, proof) ? ok(undefined) : err(forked(known, now))',
      replace:
        'return proof === undefined || verifyConsistency(known, now, proof) ? ok(undefined) : err(forked(known, now))',
    },
    {
      name: 'a checkpoint of another fleet is believed',
      search: 'return checkpoint?.origin === origin ? ok(checkpoint)',
      replace: 'return checkpoint !== undefined ? ok(checkpoint)',
    },
  ]),
  ...inFile('agent/audit-witness.ts', 'host', 'agent/audit-witness.test.ts', [
    {
      name: 'a witness gives up its checkpoint for one that does not continue it',
      search: '        this.#keepRefused(note)',
      replace: '        writePrivateFile(this.#path, note)',
    },
    {
      name: 'every node asks in the same second',
      search: 'this.#schedule(this.#options.clock.random() * WITNESS_SPREAD_MS)',
      replace: 'this.#schedule(0)',
    },
  ]),
  ...inFile('host/audit-verify.ts', 'host', 'unit/audit-tampering.test.ts', [
    {
      name: 'entries are not held against their hashes',
      search: 'if (wrong >= 0) return err(wrongEntry(first + wrong))',
      replace: '',
    },
    {
      name: 'tiles are not held against those below them',
      search: 'if (!equalBytes(hashAt(hashes, i), expected[below] ?? hashes)) {',
      replace: 'if (expected[below] === hashes) {',
    },
    {
      name: 'the root is not held against the checkpoint',
      search: 'if (!equalBytes(this.#range.root(), checkpoint.root)) return err(wrongRoot(checkpoint))',
      replace: '',
    },
    {
      name: 'an older checkpoint is not held against the trail',
      search: 'if (known !== undefined && !equalBytes(known.root, range.root()))',
      replace: 'if (known === undefined)',
    },
  ]),
  ...inFile('durable-objects/audit-log.ts', 'gateway', 'gateway/audit-log.test.ts', [
    {
      name: 'a tree that was rolled back goes on growing',
      search: '      this.#loaded = undefined\n      this.#proofs.forget()',
      replace: '      this.#proofs.forget()',
      title: 'leaves nothing of a transaction that fails',
    },
    {
      name: 'entries are given up to whoever names any root',
      search: 'if (head === undefined || named === undefined || !equalBytes(head.root, named))',
      replace: 'if (head === undefined || named === undefined)',
      title: 'is refused to whoever has another log',
    },
    {
      name: 'an entry whose outcome is open is given up',
      search: 'const end = Math.min(size, open ?? size)',
      replace: 'const end = open === undefined ? 0 : size',
      title: 'leaves what is still open',
    },
  ]),
  ...inFile('worker/routes/node-audit.ts', 'gateway', 'gateway/audit-http.test.ts', [
    {
      name: 'nodes read the entries of the trail',
      search:
        "if (tile.level === 'entries') throw new RefusedError('E_AUDIT_NOT_FOUND', 'entries are not for nodes')",
      replace: "if (tile.level === 'entries') return c.text('entries')",
    },
  ]),
  ...inFile('protocol/node-key-entry.ts', 'gateway', 'gateway/node-keys.test.ts', [
    {
      name: 'any identity key passes for the one that the trail says',
      search: "    detail['identity'] === keys.identity &&\n",
      replace: '',
    },
  ]),
]
