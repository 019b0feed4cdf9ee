-- What calls were charged by, once each: rows of request_log (batches of format 3 on) say "sha256:..." in `price` instead of 300 to 1,300 bytes.
CREATE TABLE price (
    -- SHA-256 of the body, in base64url without padding: a body can't be changed and still be found.
    sha256 text PRIMARY KEY,
    body text NOT NULL
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON price FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON price EXECUTE FUNCTION refuse_change();
