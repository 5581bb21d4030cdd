import com.google.gson.Gson;
import com.google.gson.reflect.TypeToken;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RequestInfo;
import com.google.rpc.RetryInfo;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.MetadataUtils;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import userlookup.v1.GetUserRequest;
import userlookup.v1.GetUserResponse;
import userlookup.v1.UserServiceGrpc;
import userlookup.v1.UserServiceGrpc.UserServiceBlockingStub;

/**
 * Looks up the user of an incoming request: AUTHORIZATION="Bearer …" mvn compile exec:java -Dexec.mainClass=Client
 *
 * <p>For TLS, CA_FILE names the authorities of the service, and CERTIFICATE_FILE and KEY_FILE a client certificate.
 */
public final class Client {
    // What is forwarded of a request: the user's token, and what joins logs and traces.
    private static final List<String> FORWARDED = List.of("authorization", "x-request-id", "traceparent");

    // Balancing, health checks (with grpc-services on the class path), deadline and retries, the same in
    // every language: see ../README.md.
    private static final Path SERVICE_CONFIG = Path.of("../service_config.json");

    /** Returns the credentials of the channel. Beyond this machine it needs TLS, because it carries tokens. */
    static ChannelCredentials security() throws IOException {
        Map<String, String> files = System.getenv();
        if (!files.containsKey("CA_FILE")) {
            return InsecureChannelCredentials.create();
        }
        var tls = TlsChannelCredentials.newBuilder().trustManager(new File(files.get("CA_FILE")));
        if (files.containsKey("CERTIFICATE_FILE")) {
            tls.keyManager(new File(files.get("CERTIFICATE_FILE")), new File(files.get("KEY_FILE")));
        }
        return tls.build();
    }

    /** Opens one channel for the whole process. */
    static ManagedChannel open(String target) throws IOException {
        Map<String, ?> config = new Gson().fromJson(Files.readString(SERVICE_CONFIG), new TypeToken<>() {}.getType());
        return Grpc.newChannelBuilder(target, security())
                .defaultServiceConfig(config)
                .enableRetry()
                .build();
    }

    /** Looks up the user of the request that came with these headers, one of which is its authorization. */
    static GetUserResponse getUser(UserServiceBlockingStub users, Map<String, String> incoming) {
        Metadata headers = new Metadata();
        for (String name : FORWARDED) {
            if (incoming.containsKey(name)) {
                headers.put(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER), incoming.get(name));
            }
        }
        GetUserRequest request =
                GetUserRequest.newBuilder().addAttributes("name").addAttributes("email").build();
        return users.withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers))
                .getUser(request);
    }

    /** Describes code, reason, retry delay and request. docs/errors.md says what each reason means for the user. */
    static String explain(StatusRuntimeException error) throws Exception {
        String reason = "unknown";
        String again = "";
        String id = "";
        for (var detail : StatusProto.fromThrowable(error).getDetailsList()) {
            if (detail.is(ErrorInfo.class)) {
                reason = detail.unpack(ErrorInfo.class).getReason();
            } else if (detail.is(RetryInfo.class)) {
                var delay = detail.unpack(RetryInfo.class).getRetryDelay();
                again = ", again in " + (delay.getSeconds() * 1000 + delay.getNanos() / 1_000_000) + " ms";
            } else if (detail.is(RequestInfo.class)) {
                id = ", request " + detail.unpack(RequestInfo.class).getRequestId();
            }
        }
        return error.getStatus().getCode() + " " + reason + again + id;
    }

    public static void main(String[] args) throws Exception {
        Map<String, String> headers = new HashMap<>();
        Map.of("authorization", "AUTHORIZATION", "x-request-id", "REQUEST_ID").forEach((name, variable) -> {
            if (System.getenv(variable) != null) {
                headers.put(name, System.getenv(variable));
            }
        });
        if (!headers.containsKey("authorization")) {
            System.err.println("UNAUTHENTICATED TOKEN_MISSING"); // Answer 401 without a call.
            System.exit(1);
        }
        ManagedChannel channel = open(args.length > 0 ? args[0] : "dns:///127.0.0.1:50051");
        try {
            var reply = getUser(UserServiceGrpc.newBlockingStub(channel), headers);
            Map<String, String> user = reply.getUser().getAttributesMap();
            System.out.printf("%s <%s>, %s%n", user.get("name"), user.get("email"), reply.getFreshness().getSource());
        } catch (StatusRuntimeException error) {
            System.err.println(explain(error));
            System.exit(1);
        } finally {
            channel.shutdownNow();
        }
    }
}
