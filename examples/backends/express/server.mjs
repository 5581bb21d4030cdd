// GET /me: the user of the request's access token. Run it with node server.mjs; ../README.md says how.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import express from 'express';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const FILES = ['userlookup/v1/user_service.proto', 'google/rpc/error_details.proto'];
const READING = { includeDirs: [here('../../../proto')], enums: String, longs: Number, defaults: true };
const types = grpc.loadPackageDefinition(loadSync(FILES, READING));
const { Status, ErrorInfo, RetryInfo } = types.google.rpc;
const SERVICE_CONFIG = readFileSync(here('../../service_config.json'), 'utf8');
const HTTP_STATUS = JSON.parse(readFileSync(here('../../http_status.json'), 'utf8'));

// Returns the app, which looks users up at `target`.
export function backend(target) {
  const options = { 'grpc.service_config': SERVICE_CONFIG };
  const users = new types.userlookup.v1.UserService(target, grpc.credentials.createInsecure(), options);
  const app = express();
  app.get('/me', (request, response) => {
    if (!request.headers.authorization) return problem(response, 401, 'TOKEN_MISSING');
    const metadata = new grpc.Metadata();
    for (const name of ['authorization', 'x-request-id', 'traceparent']) {
      if (request.headers[name]) metadata.set(name, request.headers[name]);
    }
    users.getUser({ attributes: ['name', 'email'] }, metadata, (error, reply) => {
      if (!error) return response.json(reply.user.attributes);
      const [packed] = error.metadata.get('grpc-status-details-bin');
      const details = packed ? Status.deserialize(packed).details : [];
      const find = (type, name) => {
        const detail = details.find((any) => any.type_url === `type.googleapis.com/google.rpc.${name}`);
        return detail && type.deserialize(detail.value);
      };
      const info = find(ErrorInfo, 'ErrorInfo');
      const known = info?.domain === 'userlookup.v1' && HTTP_STATUS.reasons[info.reason];
      const delay = find(RetryInfo, 'RetryInfo')?.retryDelay;
      const seconds = delay ? Math.ceil(delay.seconds + delay.nanos / 1e9) : 0;
      problem(response, known || HTTP_STATUS.codes[grpc.status[error.code]] || 500, info?.reason ?? '', seconds);
    });
  });
  app.locals.close = () => users.close();
  return app;
}

function problem(response, status, reason, seconds = 0) {
  if (status === 401) response.set('www-authenticate', 'Bearer');
  if (seconds) response.set('retry-after', String(seconds));
  response.status(status).json({ error: reason });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  backend(process.env.LOOKUP_TARGET ?? 'dns:///127.0.0.1:50051').listen(process.env.PORT ?? 8000);
}
