import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.time.LocalDate;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import java.util.stream.Collectors;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyIn;
import org.postgresql.copy.CopyManager;

/** What pgjdbc does through the gateway: prints "name TAB outcome", one line per check. Environment: URL, TOKEN (the engineer's), ANALYST. */
class PgjdbcChecks {
    interface Check { Object run() throws Exception; }

    static final String url = System.getenv("URL");

    static Connection connect(String... options) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", "me");
        properties.setProperty("password", System.getenv("TOKEN"));
        for (int i = 0; i < options.length; i += 2) properties.setProperty(options[i], options[i + 1]);
        return DriverManager.getConnection(url, properties);
    }

    /** What it returns, or the SQLSTATE of what it throws. */
    static Object attempt(Check check) throws Exception {
        try {
            return check.run();
        } catch (BatchUpdateException error) {
            return error.getSQLState() + " " + Arrays.stream(error.getUpdateCounts()).filter(count -> count >= 0).count();
        } catch (SQLException error) {
            return error.getSQLState();
        }
    }

    static long number(Connection connection, String query) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(query)) {
            rows.next();
            return rows.getLong(1);
        }
    }

    static int run(Connection connection, String text) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            return statement.executeUpdate(text);
        }
    }

    static Object parameters() throws Exception {
        OffsetDateTime at = OffsetDateTime.of(2024, 2, 29, 1, 2, 3, 456789000, ZoneOffset.UTC);
        LocalDate day = LocalDate.of(2024, 2, 29);
        List<String> wrong = new ArrayList<>();
        try (Connection connection = connect("prepareThreshold", "-1");
             PreparedStatement statement = connection.prepareStatement("select ?::int, ?::bigint, ?::numeric, ?::float8, ?::bool, ?::text, ?::bytea, ?::uuid, ?::date, ?::timestamptz, ?::int[], ?::text")) {
            // -1: binary transfer from the first execution on.
            for (int round = 0; round < 3; round++) {
                statement.setInt(1, -7);
                statement.setLong(2, 1L << 60);
                statement.setBigDecimal(3, new BigDecimal("12345678901234567890.0123"));
                statement.setDouble(4, 0.1);
                statement.setBoolean(5, true);
                statement.setString(6, "naïve 😀 \\ ' \"");
                statement.setBytes(7, new byte[] {0, 1, -1, 10});
                statement.setObject(8, new UUID(1, 10));
                statement.setObject(9, day);
                statement.setObject(10, at);
                statement.setArray(11, connection.createArrayOf("int4", new Integer[] {1, null, 3}));
                statement.setNull(12, java.sql.Types.VARCHAR);
                try (ResultSet row = statement.executeQuery()) {
                    row.next();
                    Object[] got = {
                        row.getInt(1), row.getLong(2), row.getBigDecimal(3), row.getDouble(4), row.getBoolean(5), row.getString(6), Arrays.toString(row.getBytes(7)), row.getObject(8), row.getObject(9, LocalDate.class),
                        row.getObject(10, OffsetDateTime.class), Arrays.toString((Object[]) row.getArray(11).getArray()), row.getString(12),
                    };
                    Object[] expected = {-7, 1L << 60, new BigDecimal("12345678901234567890.0123"), 0.1, true, "naïve 😀 \\ ' \"", "[0, 1, -1, 10]", new UUID(1, 10), day, at, "[1, null, 3]", null};
                    for (int i = 0; i < got.length; i++) if (!java.util.Objects.equals(got[i], expected[i])) wrong.add((i + 1) + ": " + got[i]);
                }
            }
        }
        return wrong;
    }

    static Object serverPrepare() throws Exception {
        try (Connection connection = connect("prepareThreshold", "3"); PreparedStatement statement = connection.prepareStatement("select ?::int * 2")) {
            long sum = 0;
            for (int i = 0; i < 20; i++) {
                statement.setInt(1, i);
                try (ResultSet row = statement.executeQuery()) {
                    row.next();
                    sum += row.getInt(1);
                }
            }
            return sum + " " + ((org.postgresql.PGStatement) statement).isUseServerPrepare() + " " + number(connection, "select count(*) from pg_prepared_statements where statement like '%* 2%'");
        }
    }

    static Object simpleMode() throws Exception {
        try (Connection connection = connect("preferQueryMode", "simple"); PreparedStatement statement = connection.prepareStatement("select ?::text || 'x'")) {
            statement.setString(1, "a'b\\");
            try (ResultSet row = statement.executeQuery()) {
                row.next();
                return row.getString(1);
            }
        }
    }

    static Object fetchSize() throws Exception {
        try (Connection connection = connect()) {
            connection.setAutoCommit(false);
            try (Statement statement = connection.createStatement()) {
                statement.setFetchSize(100);
                long sum = 0;
                int rows = 0;
                try (ResultSet page = statement.executeQuery("select i from generate_series(1, 1050) i")) {
                    while (page.next()) {
                        // Another statement between two pages: the portal stays.
                        if (rows % 400 == 0) number(connection, "select 1");
                        sum += page.getLong(1);
                        rows++;
                    }
                }
                connection.commit();
                return rows + " " + sum;
            }
        }
    }

    static Object batches() throws Exception {
        try (Connection connection = connect(); Connection rewriting = connect("reWriteBatchedInserts", "true")) {
            run(connection, "create table batched (id int primary key, note text)");
            List<Object> outcomes = new ArrayList<>();
            for (Connection one : List.of(connection, rewriting)) {
                run(connection, "truncate batched");
                try (PreparedStatement statement = one.prepareStatement("insert into batched values (?, ?)")) {
                    for (int i = 0; i < 2000; i++) {
                        statement.setInt(1, i);
                        statement.setString(2, "note " + i);
                        statement.addBatch();
                    }
                    outcomes.add(statement.executeBatch().length);
                }
                outcomes.add(number(connection, "select count(*) from batched"));
            }
            connection.setAutoCommit(false);
            try (PreparedStatement statement = connection.prepareStatement("insert into batched values (?, 'again')")) {
                for (int i = 1990; i < 2100; i++) {
                    statement.setInt(1, 3000 - i);
                    statement.addBatch();
                }
                outcomes.add(attempt(() -> statement.executeBatch().length));
            }
            connection.rollback();
            outcomes.add(number(connection, "select count(*) from batched"));
            connection.commit();
            return outcomes;
        }
    }

    static Object generatedKeys() throws Exception {
        try (Connection connection = connect()) {
            run(connection, "create temp table keyed (id int generated always as identity, note text)");
            try (PreparedStatement statement = connection.prepareStatement("insert into keyed (note) values (?)", Statement.RETURN_GENERATED_KEYS)) {
                statement.setString(1, "one");
                statement.executeUpdate();
                try (ResultSet keys = statement.getGeneratedKeys()) {
                    keys.next();
                    return keys.getInt(1);
                }
            }
        }
    }

    static Object copyBothWays() throws Exception {
        try (Connection connection = connect()) {
            run(connection, "create temp table loaded (id int, note text)");
            String lines = java.util.stream.IntStream.range(0, 20_000).mapToObj(i -> i + ",\"line one\nline \"\"two\"\", " + i + "\"\n").collect(Collectors.joining());
            CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
            long in = copy.copyIn("copy loaded from stdin (format csv)", new StringReader(lines));
            StringWriter back = new StringWriter();
            long out = copy.copyOut("copy (select * from loaded order by id) to stdout (format csv)", back);
            CopyIn givenUp = copy.copyIn("copy loaded from stdin");
            givenUp.writeToCopy("1\tone\n".getBytes(), 0, 6);
            givenUp.cancelCopy();
            Object wrong = attempt(() -> copy.copyIn("copy loaded from stdin (format csv)", new StringReader(lines + "x,y\n" + lines)));
            return in + " " + out + " " + back.toString().equals(lines) + " " + wrong + " " + number(connection, "select count(*) from loaded");
        }
    }

    static Object errorInTransaction() throws Exception {
        try (Connection connection = connect()) {
            run(connection, "create temp table kept (i int)");
            connection.setAutoCommit(false);
            run(connection, "insert into kept values (1)");
            Savepoint savepoint = connection.setSavepoint();
            Object failed = attempt(() -> number(connection, "select 1/0"));
            Object aborted = attempt(() -> number(connection, "select 1"));
            connection.rollback(savepoint);
            run(connection, "insert into kept values (2)");
            connection.commit();
            Object denied = attempt(() -> run(connection, "delete from public.kept"));
            Object after = attempt(() -> number(connection, "select 1"));
            connection.rollback();
            return failed + " " + aborted + " " + denied + " " + after + " " + number(connection, "select sum(i) from kept");
        }
    }

    static Object autosave() throws Exception {
        try (Connection connection = connect("autosave", "always")) {
            connection.setAutoCommit(false);
            run(connection, "create temp table kept (i int)");
            Object failed = attempt(() -> number(connection, "select 1/0"));
            run(connection, "insert into kept values (2)");
            connection.commit();
            return failed + " " + number(connection, "select sum(i) from kept");
        }
    }

    static Object cancel() throws Exception {
        try (Connection connection = connect(); Statement statement = connection.createStatement()) {
            long started = System.nanoTime();
            Thread canceller = new Thread(() -> {
                try {
                    Thread.sleep(300);
                    statement.cancel();
                } catch (Exception error) {
                    throw new IllegalStateException(error);
                }
            });
            canceller.start();
            Object outcome = attempt(() -> statement.execute("select pg_sleep(30)"));
            canceller.join();
            return outcome + " " + (System.nanoTime() - started < 10_000_000_000L) + " " + number(connection, "select 1");
        }
    }

    static Object queryTimeout() throws Exception {
        try (Connection connection = connect(); Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            return attempt(() -> statement.execute("select pg_sleep(30)")) + " " + number(connection, "select 1");
        }
    }

    static Object metadata() throws Exception {
        try (Connection connection = connect(); ResultSet columns = connection.getMetaData().getColumns(null, "public", "people", null)) {
            List<String> names = new ArrayList<>();
            while (columns.next()) names.add(columns.getString("COLUMN_NAME") + ":" + columns.getString("TYPE_NAME"));
            return names + " " + connection.getMetaData().getUserName() + " " + connection.isValid(5);
        }
    }

    static Object notices() throws Exception {
        try (Connection connection = connect(); Statement statement = connection.createStatement()) {
            statement.execute("do $$ begin raise notice 'seen'; end $$");
            return statement.getWarnings().getMessage();
        }
    }

    /** The test approves it: the notice is printed at once by the thread that waits for it. */
    static Object held() throws Exception {
        try (Connection connection = connect(); PreparedStatement statement = connection.prepareStatement("update held set note = ? where id = ?")) {
            List<Object> outcomes = new ArrayList<>();
            for (String note : List.of("approved", "denied")) {
                statement.setString(1, note);
                statement.setInt(2, 1);
                outcomes.add(attempt(statement::executeUpdate));
            }
            return outcomes;
        }
    }

    static Object masked() throws Exception {
        List<String> seen = new ArrayList<>();
        try (Connection connection = connect("password", System.getenv("ANALYST"), "prepareThreshold", "-1")) {
            connection.setAutoCommit(false);
            try (PreparedStatement statement = connection.prepareStatement("select id, name, ssn, salary, born from people order by id")) {
                statement.setFetchSize(1);
                for (int round = 0; round < 2; round++) {
                    try (ResultSet rows = statement.executeQuery()) {
                        while (rows.next()) seen.add(rows.getString(2) + "/" + rows.getString(3) + "/" + rows.getInt(4) + "/" + rows.getObject(5, LocalDate.class));
                    }
                }
            }
        }
        return seen;
    }

    static Object withoutTls() throws Exception {
        // What the URL says wins over the properties.
        return attempt(() -> { DriverManager.getConnection(url.replace("verify-full", "disable"), "me", System.getenv("TOKEN")).close(); return "connected"; });
    }

    static Object channelBinding() throws Exception {
        return attempt(() -> { connect("channelBinding", "require").close(); return "connected"; });
    }

    public static void main(String[] args) {
        Map<String, Check> checks = new LinkedHashMap<>();
        checks.put("parameters", PgjdbcChecks::parameters);
        checks.put("serverPrepare", PgjdbcChecks::serverPrepare);
        checks.put("simpleMode", PgjdbcChecks::simpleMode);
        checks.put("fetchSize", PgjdbcChecks::fetchSize);
        checks.put("batches", PgjdbcChecks::batches);
        checks.put("generatedKeys", PgjdbcChecks::generatedKeys);
        checks.put("copyBothWays", PgjdbcChecks::copyBothWays);
        checks.put("errorInTransaction", PgjdbcChecks::errorInTransaction);
        checks.put("autosave", PgjdbcChecks::autosave);
        checks.put("cancel", PgjdbcChecks::cancel);
        checks.put("queryTimeout", PgjdbcChecks::queryTimeout);
        checks.put("metadata", PgjdbcChecks::metadata);
        checks.put("notices", PgjdbcChecks::notices);
        checks.put("held", PgjdbcChecks::held);
        checks.put("masked", PgjdbcChecks::masked);
        checks.put("withoutTls", PgjdbcChecks::withoutTls);
        checks.put("channelBinding", PgjdbcChecks::channelBinding);
        checks.forEach((name, check) -> {
            try {
                System.out.println(name + "\t" + check.run());
            } catch (Throwable error) {
                System.out.println(name + "\traised " + String.valueOf(error).replace('\n', ' ') + " at " + error.getStackTrace()[0]);
            }
        });
    }
}
