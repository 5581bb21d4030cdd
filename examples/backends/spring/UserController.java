import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RequestHeader;
import org.springframework.web.bind.annotation.RestController;
import userlookup.v1.GetUserRequest;
import userlookup.v1.UserServiceGrpc.UserServiceBlockingStub;

/** GET /me: the user of the request's access token. Make its stub a bean, as ../../java/Client.java opens it. */
@RestController
public class UserController {
    private static final GetUserRequest REQUEST =
            GetUserRequest.newBuilder().addAttributes("name").addAttributes("email").build();

    private final UserServiceBlockingStub users;
    private final JsonObject httpStatus;

    public UserController(UserServiceBlockingStub users) throws IOException {
        this.users = users;
        httpStatus = JsonParser.parseString(Files.readString(Path.of("../../http_status.json"))).getAsJsonObject();
    }

    @GetMapping("/me")
    public ResponseEntity<Map<String, String>> me(
            @RequestHeader(name = "authorization", required = false) String authorization,
            @RequestHeader(name = "x-request-id", required = false) String requestId) throws IOException {
        if (authorization == null) {
            return problem(401, "TOKEN_MISSING", 0);
        }
        Metadata headers = new Metadata();
        headers.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), authorization);
        if (requestId != null) {
            headers.put(Metadata.Key.of("x-request-id", Metadata.ASCII_STRING_MARSHALLER), requestId);
        }
        try {
            var stub = users.withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers));
            return ResponseEntity.ok(stub.getUser(REQUEST).getUser().getAttributesMap());
        } catch (StatusRuntimeException error) {
            return problem(error);
        }
    }

    private ResponseEntity<Map<String, String>> problem(StatusRuntimeException error) throws IOException {
        String reason = "";
        long seconds = 0;
        for (var detail : StatusProto.fromThrowable(error).getDetailsList()) {
            if (detail.is(ErrorInfo.class) && detail.unpack(ErrorInfo.class).getDomain().equals("userlookup.v1")) {
                reason = detail.unpack(ErrorInfo.class).getReason();
            } else if (detail.is(RetryInfo.class)) {
                var delay = detail.unpack(RetryInfo.class).getRetryDelay();
                seconds = delay.getSeconds() + (delay.getNanos() > 0 ? 1 : 0);
            }
        }
        var known = httpStatus.getAsJsonObject("reasons").get(reason);
        var code = known != null ? known : httpStatus.getAsJsonObject("codes").get(error.getStatus().getCode().name());
        return problem(code != null ? code.getAsInt() : 500, reason, seconds);
    }

    private static ResponseEntity<Map<String, String>> problem(int status, String reason, long seconds) {
        var answer = ResponseEntity.status(status);
        if (status == 401) {
            answer.header("www-authenticate", "Bearer");
        }
        if (seconds > 0) {
            answer.header("retry-after", String.valueOf(seconds));
        }
        return answer.body(Map.of("error", reason));
    }
}
