import com.google.gson.Gson;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import java.io.File;
import java.util.concurrent.TimeUnit;
import userlookup.v1.GetUserRequest;
import userlookup.v1.UserServiceGrpc;

/** Calls GetUser once with the defaults of grpc-java, as the JSON in the first argument says (matrix.py). */
public final class MatrixClient {
    private static final class Call {
        String target;
        String ca;
        String certificate;
        String key;
        String sub;
        boolean gzip;
    }

    private static ChannelCredentials credentials(Call call) throws Exception {
        if (call.ca.isEmpty()) {
            return InsecureChannelCredentials.create();
        }
        var builder = TlsChannelCredentials.newBuilder().trustManager(new File(call.ca));
        if (!call.certificate.isEmpty()) {
            builder.keyManager(new File(call.certificate), new File(call.key));
        }
        return builder.build();
    }

    public static void main(String[] arguments) throws Exception {
        Call call = new Gson().fromJson(arguments[0], Call.class);
        ManagedChannel channel = Grpc.newChannelBuilder(call.target, credentials(call)).build();
        var users = UserServiceGrpc.newBlockingStub(channel).withDeadlineAfter(20, TimeUnit.SECONDS);
        if (call.gzip) {
            users = users.withCompression("gzip");
        }
        try {
            var reply = users.getUser(GetUserRequest.newBuilder().setSub(call.sub).build());
            System.out.println("OK " + reply.getUser().getAttributesOrThrow("name"));
        } catch (StatusRuntimeException error) {
            System.out.println(error.getMessage());
        }
        System.exit(0);
    }
}
