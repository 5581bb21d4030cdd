// Calls GetUser once with the defaults of grpc-js, as the JSON in the first argument says (matrix.py).
import { readFileSync } from 'node:fs';
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const { proto, target, authority, ca, certificate, key, sub, gzip } = JSON.parse(process.argv[2]);
const types = grpc.loadPackageDefinition(loadSync('userlookup/v1/user_service.proto', { includeDirs: [proto] }));
const read = (path) => (path ? readFileSync(path) : null);
const credentials = ca
  ? grpc.credentials.createSsl(read(ca), read(key), read(certificate))
  : grpc.credentials.createInsecure();
const options = {
  ...(authority && { 'grpc.default_authority': authority }),
  ...(gzip && { 'grpc.default_compression_algorithm': grpc.compressionAlgorithms.gzip }),
};
const users = new types.userlookup.v1.UserService(target, credentials, options);
users.getUser({ sub }, { deadline: Date.now() + 20_000 }, (error, reply) => {
  console.log(error ? error.message : `OK ${reply.user.attributes.name}`);
  users.close();
});
