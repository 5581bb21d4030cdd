import com.google.protobuf.Timestamp;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import userlookup.v1.GetUserRequest;
import userlookup.v1.GetUserResponse;
import userlookup.v1.UserServiceGrpc;
import userlookup.v1.UserServiceGrpc.UserServiceBlockingStub;
import userlookup.v1.WatchUsersRequest;
import userlookup.v1.WatchUsersResponse;

/**
 * Keeps a copy of one user, fresh by WatchUsers: mvn compile exec:java -Dexec.mainClass=Watch -Dexec.args="TARGET SUB"
 *
 * <p>It prints the user whenever its copy changes. The caller's rule needs watch = true. docs/watch.md has
 * the recipe.
 */
public final class Watch {
    // For the first call of a JVM too.
    private static final long TIMEOUT_SECONDS = 10;
    // How long a copy is used while changes may be missed.
    private static final Duration TTL = Duration.ofMinutes(1);
    // Three intervals of checkpoints.
    private static final Duration SILENCE = Duration.ofSeconds(90);
    // The most copies, and the most changes, that are kept. When there are more, all are dropped.
    private static final int MAX_USERS = 10_000;

    private record Kept(GetUserResponse reply, Instant read) {}

    private final UserServiceBlockingStub users;
    private final Map<String, Kept> copies = new HashMap<>();
    private final Map<String, Timestamp> changed = new HashMap<>();
    // The `not_older_than` of users whose change was dropped.
    private Timestamp changedBefore;
    private Instant heard = Instant.MIN;
    private boolean healthy;
    // Changes whenever a read in flight must not be kept.
    private int version;

    private Watch(UserServiceBlockingStub users) {
        this.users = users;
    }

    /** Returns the copy of a user, or reads the user. */
    GetUserResponse get(String sub) {
        GetUserRequest.Builder request = GetUserRequest.newBuilder().setSub(sub);
        int before;
        synchronized (this) {
            Kept copy = copies.get(sub);
            Instant now = Instant.now();
            boolean hears = healthy && heard.isAfter(now.minus(SILENCE));
            if (copy != null && (hears || copy.read().isAfter(now.minus(TTL)))) {
                return copy.reply();
            }
            Timestamp since = changed.getOrDefault(sub, changedBefore);
            if (since != null) {
                request.setNotOlderThan(since);
            }
            before = version;
        }
        GetUserResponse reply =
                users.withDeadlineAfter(TIMEOUT_SECONDS, TimeUnit.SECONDS).getUser(request.build());
        synchronized (this) {
            if (before == version && heard != Instant.MIN) {
                changed.remove(sub);
                if (copies.size() >= MAX_USERS) {
                    copies.clear();
                }
                copies.put(sub, new Kept(reply, Instant.now()));
            }
        }
        return reply;
    }

    /** Drops the copies of users that change. Ends for a reason that no retry helps. */
    void watch() throws InterruptedException {
        String[] token = {""};
        while (true) {
            try {
                WatchUsersRequest request =
                        WatchUsersRequest.newBuilder().setResumeToken(token[0]).build();
                users.watchUsers(request).forEachRemaining(message -> {
                    hear(message);
                    token[0] = message.getResumeToken();
                });
            } catch (StatusRuntimeException error) {
                Status.Code code = error.getStatus().getCode();
                if (code == Status.Code.OUT_OF_RANGE) {
                    forget();
                    token[0] = "";
                } else if (code == Status.Code.UNAVAILABLE || code == Status.Code.RESOURCE_EXHAUSTED) {
                    Thread.sleep(1_000);
                } else {
                    forget();
                    throw error;
                }
            }
        }
    }

    private synchronized void hear(WatchUsersResponse message) {
        if (message.hasChange()) {
            version++;
            copies.remove(message.getChange().getSub());
            if (changed.size() >= MAX_USERS) {
                changed.clear();
                changedBefore = message.getChange().getSeenAt();
            }
            changed.put(message.getChange().getSub(), message.getChange().getSeenAt());
        } else {
            // What was read before the first checkpoint may be older than the stream.
            version += heard == Instant.MIN ? 1 : 0;
            healthy = message.getCheckpoint().getSourceHealthy();
        }
        heard = Instant.now();
    }

    private synchronized void forget() {
        version++;
        copies.clear();
        heard = Instant.MIN;
        healthy = false;
    }

    public static void main(String[] args) throws Exception {
        ManagedChannel channel = Grpc.newChannelBuilder(args[0], InsecureChannelCredentials.create()).build();
        Watch mirror = new Watch(UserServiceGrpc.newBlockingStub(channel));
        Thread watching = new Thread(() -> {
            try {
                mirror.watch();
            } catch (InterruptedException ended) {
                Thread.currentThread().interrupt();
            }
        });
        watching.setDaemon(true);
        watching.start();
        String shown = "";
        while (true) {
            Map<String, String> user = mirror.get(args[1]).getUser().getAttributesMap();
            String line = user.get("name") + " <" + user.get("email") + ">";
            if (!line.equals(shown)) {
                System.out.println(line);
                System.out.flush();
            }
            shown = line;
            Thread.sleep(100);
        }
    }
}
