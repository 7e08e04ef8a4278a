CREATE DEFINER=`api_definer`@`localhost` PROCEDURE `security_set_tenant`(IN p_tenant CHAR(36))
    MODIFIES SQL DATA
BEGIN
  DECLARE v_account VARCHAR(32) DEFAULT
    LEFT(SESSION_USER(), CHAR_LENGTH(SESSION_USER()) - CHAR_LENGTH(SUBSTRING_INDEX(SESSION_USER(), '@', -1)) - 1);
  DECLARE v_nonce BINARY(16) DEFAULT RANDOM_BYTES(16);
  DECLARE v_set INT DEFAULT 0;
  COMMIT AND NO CHAIN NO RELEASE;
  SET @ztmysql_nonce = NULL;
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
  START TRANSACTION;
  BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION SET v_set = -1;
    -- A refused call leaves no context behind either.
    DELETE FROM tenant_context WHERE connection_id = CONNECTION_ID();
    INSERT INTO tenant_context (connection_id, nonce, boot_id, account, tenant_id, set_at)
    SELECT CONNECTION_ID(), v_nonce, b.boot_id, g.account, g.tenant_id,
      CONVERT_TZ(SYSDATE(6), @@session.time_zone, '+00:00')
    FROM boot b
    JOIN tenant_grant g ON g.account = v_account AND g.state = 'active'
      AND g.tenant_id = IF(p_tenant REGEXP '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$', UUID_TO_BIN(p_tenant), NULL)
    JOIN tenants t ON t.tenant_id = g.tenant_id AND t.state = 'active'
    WHERE b.id = 1;
    SET v_set = ROW_COUNT();
  END;
  IF v_set < 0 THEN
    ROLLBACK AND NO CHAIN NO RELEASE;
    CALL signal_state('45W00');
  END IF;
  COMMIT AND NO CHAIN NO RELEASE;
  IF v_set = 0 THEN
    CALL signal_state('45T02');
  END IF;
  SET @ztmysql_nonce = v_nonce;
END
