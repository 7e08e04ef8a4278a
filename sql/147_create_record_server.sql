-- The server's version and what is loaded into it: an event wherever they changed. In the caller's transaction. Each
-- anchor looks; only root announces, and only for a time (p_minutes).
CREATE DEFINER=`api_definer`@`localhost` PROCEDURE `record_server`(IN p_announced BOOLEAN, IN p_minutes INT UNSIGNED)
    MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT CONVERT_TZ(SYSDATE(6), @@session.time_zone, '+00:00');
  DECLARE v_mysql VARCHAR(100);
  DECLARE v_digest BINARY(32);
  DECLARE v_known_mysql VARCHAR(100);
  DECLARE v_known_digest BINARY(32);
  DECLARE v_until DATETIME(6);
  DECLARE v_opened DATETIME(6) DEFAULT IF(p_minutes > 0, v_now + INTERVAL p_minutes MINUTE, NULL);
  DECLARE v_announced BOOLEAN;
  DECLARE v_payload VARBINARY(4096);
  CALL observe_server(v_mysql, v_digest);
  SELECT MAX(t.mysql), MAX(t.digest), MAX(t.announced_until) INTO v_known_mysql, v_known_digest, v_until
  FROM server_state t WHERE t.id = 1;
  IF v_opened IS NOT NULL OR NOT (v_mysql <=> v_known_mysql AND v_digest <=> v_known_digest) THEN
    SET v_announced = p_announced OR IFNULL(v_now <= v_until, FALSE);
    CALL queue_server_event('server', CONCAT('{"mysql":', JSON_QUOTE(v_mysql) COLLATE utf8mb4_0900_bin, ',"digest":"', LOWER(HEX(v_digest)),
      '","announced":', IF(v_announced, 'true', 'false'), ',"until":',
      IF(v_opened IS NULL, 'null', CONCAT('"', DATE_FORMAT(v_opened, '%Y-%m-%dT%H:%i:%s.%fZ'), '"')), '}'), v_payload);
    INSERT INTO server_state (id, mysql, digest, announced_until) VALUES (1, v_mysql, v_digest, v_opened) AS n
    ON DUPLICATE KEY UPDATE mysql = n.mysql, digest = n.digest, announced_until = IFNULL(n.announced_until, v_until);
  END IF;
END
