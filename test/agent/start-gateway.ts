/** A fake gateway with a CA and a certificate of its own, made once for each test file. */
import { createTestCa } from '../support/certificates.ts'
import { FakeGateway } from '../support/fake-gateway.ts'

export const authority = await createTestCa()

export const certificates = {
  ca: authority.pem,
  ...(await authority.issue({ names: ['localhost', '127.0.0.1', '127.0.0.2'] })),
}

export const startGateway = (): Promise<FakeGateway> => FakeGateway.start(certificates)
