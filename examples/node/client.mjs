// Looks up the user of an incoming request: AUTHORIZATION="Bearer …" node client.mjs [TARGET]
//
// For TLS, CA_FILE names the authorities of the service, and CERTIFICATE_FILE and KEY_FILE a client certificate.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const PROTO = fileURLToPath(new URL('../../proto', import.meta.url));
const FILES = ['userlookup/v1/user_service.proto', 'google/rpc/error_details.proto'];
const READING = { includeDirs: [PROTO], enums: String, longs: Number, defaults: true };
const types = grpc.loadPackageDefinition(loadSync(FILES, READING));
const { Status, ErrorInfo, RequestInfo, RetryInfo } = types.google.rpc;

// Balancing, deadline and retries, the same in every language: see ../README.md. grpc-js does not check
// health, so it also calls addresses that report NOT_SERVING.
const SERVICE_CONFIG = readFileSync(new URL('../service_config.json', import.meta.url), 'utf8');

// What is forwarded of a request: the user's token, and what joins logs and traces.
const FORWARDED = ['authorization', 'x-request-id', 'traceparent'];

// Opens one channel for the whole process. Beyond this machine it needs TLS, because it carries tokens.
function open(target) {
  const [ca, key, certificate] = ['CA_FILE', 'KEY_FILE', 'CERTIFICATE_FILE'].map(
    (name) => process.env[name] && readFileSync(process.env[name]),
  );
  const { createInsecure, createSsl } = grpc.credentials;
  const credentials = ca ? createSsl(ca, key, certificate) : createInsecure();
  const options = { 'grpc.service_config': SERVICE_CONFIG };
  return new types.userlookup.v1.UserService(target, credentials, options);
}

// Looks up the user of the request that came with these headers, one of which is its authorization.
function getUser(users, headers) {
  const metadata = new grpc.Metadata();
  for (const name of FORWARDED) if (headers[name]) metadata.set(name, headers[name]);
  const request = { attributes: ['name', 'email'] };
  return new Promise((resolve, reject) => {
    const done = (error, reply) => (error ? reject(error) : resolve(reply));
    users.getUser(request, metadata, done);
  });
}

// Describes code, reason, retry delay and request. docs/errors.md says what each reason means for the user.
function explain(error) {
  const [packed] = error.metadata.get('grpc-status-details-bin');
  const details = packed ? Status.deserialize(packed).details : [];
  const find = (type, name) => {
    const detail = details.find((any) => any.type_url === `type.googleapis.com/google.rpc.${name}`);
    return detail && type.deserialize(detail.value);
  };
  const delay = find(RetryInfo, 'RetryInfo')?.retryDelay;
  const again = delay ? `, again in ${delay.seconds * 1000 + Math.trunc(delay.nanos / 1e6)} ms` : '';
  const id = find(RequestInfo, 'RequestInfo')?.requestId;
  const reason = find(ErrorInfo, 'ErrorInfo')?.reason ?? 'unknown';
  return `${grpc.status[error.code]} ${reason}${again}${id ? `, request ${id}` : ''}`;
}

async function main(target = 'dns:///127.0.0.1:50051') {
  const headers = { authorization: process.env.AUTHORIZATION, 'x-request-id': process.env.REQUEST_ID };
  if (!headers.authorization) {
    console.error('UNAUTHENTICATED TOKEN_MISSING'); // Answer 401 without a call.
    process.exitCode = 1;
    return;
  }
  const users = open(target);
  try {
    const { user, freshness } = await getUser(users, headers);
    console.log(`${user.attributes.name} <${user.attributes.email}>, ${freshness.source}`);
  } catch (error) {
    console.error(explain(error));
    process.exitCode = 1;
  }
  users.close();
}

await main(process.argv[2]);
