import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.Gson;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.reflect.TypeToken;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import userlookup.v1.UserServiceGrpc;

/** Tests the controller against a running sandbox; SANDBOX_URL is its control port. */
class UserControllerTest {
    private static final String SANDBOX =
            Optional.ofNullable(System.getenv("SANDBOX_URL")).orElse("http://127.0.0.1:9229/sandbox");

    private ManagedChannel channel;
    private UserController controller;

    @BeforeEach
    void start() throws Exception {
        control("POST", "/reset", "");
        String grpc = control("GET", "", "").getAsJsonArray("replicas").get(0).getAsJsonObject().get("grpc").getAsString();
        String target = Optional.ofNullable(System.getenv("LOOKUP_TARGET")).orElse(grpc);
        Map<String, ?> config =
                new Gson().fromJson(Files.readString(Path.of("../../service_config.json")), new TypeToken<>() {}.getType());
        channel = ManagedChannelBuilder.forTarget(target).usePlaintext().defaultServiceConfig(config).enableRetry().build();
        controller = new UserController(UserServiceGrpc.newBlockingStub(channel));
    }

    @AfterEach
    void stop() {
        channel.shutdownNow();
    }

    @Test
    void theUserIsReturned() throws Exception {
        var answer = controller.me(bearer("{'user': 'ada'}"), "test-1");
        assertEquals(Map.of("name", "Ada Lovelace", "email", "ada@example.com"), answer.getBody());
    }

    @Test
    void aRefusedTokenHasItsStatus() throws Exception {
        check(401, "TOKEN_MISSING", null);
        check(401, "TOKEN_EXPIRED", bearer("{'user': 'ada', 'expired': true}"));
        check(401, "TOKEN_INVALID", bearer("{'user': 'ada', 'forged': true}"));
        check(400, "ID_TOKEN_REFUSED", bearer("{'user': 'ada', 'id': true}"));
        check(403, "USER_DISABLED", bearer("{'user': 'bob'}"));
    }

    @Test
    void aThrottledCognitoIsA503WithADelay() throws Exception {
        control("PUT", "/fault/throttle", "");
        var answer = controller.me(bearer("{'user': 'ada'}"), null);
        assertEquals(503, answer.getStatusCode().value());
        assertEquals(Map.of("error", "UPSTREAM_THROTTLED"), answer.getBody());
        assertTrue(answer.getHeaders().containsKey("retry-after"));
    }

    private void check(int status, String reason, String authorization) throws Exception {
        var answer = controller.me(authorization, null);
        assertEquals(status, answer.getStatusCode().value());
        assertEquals(Map.of("error", reason), answer.getBody());
    }

    /** Returns the header with a new token, as this request to the control port (with ' for ") asks for it. */
    private static String bearer(String request) throws Exception {
        return "Bearer " + control("POST", "/token", request.replace('\'', '"')).get("access_token").getAsString();
    }

    private static JsonObject control(String method, String path, String body) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(SANDBOX + path)).method(method, BodyPublishers.ofString(body));
        var answer = HttpClient.newHttpClient().send(request.build(), BodyHandlers.ofString());
        assertEquals(200, answer.statusCode(), answer.body());
        return JsonParser.parseString(answer.body()).getAsJsonObject();
    }
}
