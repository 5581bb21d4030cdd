import com.google.gson.Gson;
import com.google.gson.reflect.TypeToken;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import userlookup.v1.GetUserRequest;
import userlookup.v1.GetUserResponse;
import userlookup.v1.UserServiceGrpc;
import userlookup.v1.UserServiceGrpc.UserServiceBlockingStub;

/** Looks up the user of an incoming request: AUTHORIZATION="Bearer …" mvn compile exec:java -Dexec.mainClass=Client */
public final class Client {
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    // Balancing, health checks (with grpc-services on the class path), deadline and retries, the same in
    // every language: see ../README.md.
    private static final Path SERVICE_CONFIG = Path.of("../service_config.json");

    /**
     * Opens one channel for the whole process. Beyond this machine, use TlsChannelCredentials,
     * because the channel carries tokens.
     */
    static ManagedChannel open(String target) throws IOException {
        Map<String, ?> config = new Gson().fromJson(Files.readString(SERVICE_CONFIG), new TypeToken<>() {}.getType());
        return Grpc.newChannelBuilder(target, InsecureChannelCredentials.create())
                .defaultServiceConfig(config)
                .enableRetry()
                .build();
    }

    /** Looks up the user of the request that came with this header. */
    static GetUserResponse getUser(UserServiceBlockingStub users, String authorization) {
        Metadata headers = new Metadata();
        headers.put(AUTHORIZATION, authorization);
        GetUserRequest request =
                GetUserRequest.newBuilder().addAttributes("name").addAttributes("email").build();
        return users.withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers))
                .getUser(request);
    }

    /** Describes code, reason and retry delay. docs/errors.md says what each reason means for the user. */
    static String explain(StatusRuntimeException error) throws Exception {
        String reason = "unknown";
        String again = "";
        for (var detail : StatusProto.fromThrowable(error).getDetailsList()) {
            if (detail.is(ErrorInfo.class)) {
                reason = detail.unpack(ErrorInfo.class).getReason();
            } else if (detail.is(RetryInfo.class)) {
                var delay = detail.unpack(RetryInfo.class).getRetryDelay();
                again = ", again in " + (delay.getSeconds() * 1000 + delay.getNanos() / 1_000_000) + " ms";
            }
        }
        return error.getStatus().getCode() + " " + reason + again;
    }

    public static void main(String[] args) throws Exception {
        ManagedChannel channel = open(args.length > 0 ? args[0] : "dns:///127.0.0.1:50051");
        try {
            var reply = getUser(UserServiceGrpc.newBlockingStub(channel), System.getenv("AUTHORIZATION"));
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
