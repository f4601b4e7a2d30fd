/** A fake gateway with a CA and a certificate of its own, made once for each test file. */
import { createTestCa } from '../support/certificates.ts'
import { FakeGateway } from '../support/fake-gateway.ts'

const authority = await createTestCa()

export const certificates = { ca: authority.pem, ...(await authority.issue()) }

export const startGateway = (): Promise<FakeGateway> => FakeGateway.start(certificates)
