/** Lines about what goes beyond the audit. */
import type { Entry } from './entry.ts'

export const BEYOND: Readonly<Record<string, Entry>> = {
  G1: {
    proofs: [
      [
        'agent/interceptor.test.ts',
        'a CA-valid certificate in between is found out by the gateway’s key and by what the node saw',
      ],
      [
        'agent/gateway-key.test.ts',
        'a session with somebody who lacks the gateway’s key > is ended before anything is believed, is tried again, and is an alarm',
        'a session with somebody who lacks the gateway’s key > is no session if the signature is for %s',
        'a join token > names the only key that may answer the enrolment: an impostor’s answer is not kept',
        'a new gateway key > that nobody announced is an impostor’s',
      ],
      [
        'agent/impostor.test.ts',
        'a refusal %s > that says %s in place of a session decides nothing',
        'a refusal %s > does not move the clock of a session',
        'a reply > %s is not taken for the gateway’s',
        'before `registered` > %s and its close code are no verdict, and no hot loop',
      ],
      [
        'gateway/signed-answer.test.ts',
        'the signature of an answer > is on a reply and on each kind of refusal',
        'the signature of an answer > does not cover another proof with the same id',
      ],
      [
        'gateway/identity.test.ts',
        "the gateway's key > signs each session anew",
        'the channel statement > holds only for our certificate, this session and this node',
      ],
    ],
  },
  G2: {
    proofs: [
      [
        'gateway/identity.test.ts',
        'a clone > shows as a generation used before: the identity is held, named to the owner, and free after release',
        'a clone > is not what a restart looks like: each session raises the generation',
      ],
      ['agent/session.test.ts', 'generations > rise with each session, and are on disk before it begins'],
    ],
  },
  G3: {
    proofs: [
      [
        'gateway/identity.test.ts',
        'a new identity key > is taken when old and new key sign; the node stays who it is and the old key is refused',
      ],
      [
        'gateway/session.test.ts',
        'the upgrade > is refused to a removed node, whose socket is cut and whose identity stays refused',
      ],
    ],
  },
  G4: {
    proofs: [
      [
        'fuzz/frames.test.ts',
        'the gateway reads from a node > nothing else: it never throws, and what it accepts is exactly what was sent',
      ],
      ['fuzz/proofs.test.ts', 'a proof > is not found in what is none, and looking never throws'],
    ],
  },
}
