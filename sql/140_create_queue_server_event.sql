-- An event of the server's own: no tenant, no row, no signature. In the caller's transaction.
CREATE DEFINER=`api_definer`@`localhost` PROCEDURE `queue_server_event`(IN p_action VARCHAR(16), IN p_data VARCHAR(2048), OUT p_payload VARBINARY(4096))
    MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6) DEFAULT CONVERT_TZ(SYSDATE(6), @@session.time_zone, '+00:00');
  DECLARE v_id BINARY(16) DEFAULT RANDOM_BYTES(16);
  SET p_payload = CONCAT('{"v":1,"id":"', BIN_TO_UUID(v_id), '","time":"', DATE_FORMAT(v_now, '%Y-%m-%dT%H:%i:%s.%fZ'),
    '","actor":', JSON_QUOTE(SESSION_USER()) COLLATE utf8mb4_0900_bin, ',"conn":', CONNECTION_ID(),
    ',"tenant":null,"table":null,"action":', JSON_QUOTE(p_action),
    ',"key":null,"ver":null,"wver":null,"scheme":null,"before":null,"after":null,"sig":null,"signer":null,"data":', p_data, '}');
  INSERT INTO audit_pending (tenant_id, evt_id, queued_at, payload) VALUES (REPEAT(X'00', 16), v_id, v_now, p_payload);
END
